"""Digits as pixels, for the test pattern: 5 x 7 dots each, with a free column and no font file."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

WIDTH = 6  # dots of one character, the free column included

# Lines from top to bottom; bit 4 is the left dot.
_ROWS: dict[str, tuple[int, ...]] = {
    "0": (0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110),
    "1": (0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110),
    "2": (0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111),
    "3": (0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110),
    "4": (0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010),
    "5": (0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110),
    "6": (0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110),
    "7": (0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000),
    "8": (0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110),
    "9": (0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100),
    ":": (0b00000, 0b00100, 0b00100, 0b00000, 0b00100, 0b00100, 0b00000),
    ".": (0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00110, 0b00110),
    "#": (0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010),
    " ": (0, 0, 0, 0, 0, 0, 0),
}


def render(text: str, scale: int, dark: int, light: int) -> npt.NDArray[np.uint8]:
    """`text` as `light` on `dark`, (7 * scale, 6 * scale * len(text)).

    Raises:
        KeyError: a character other than digits, `:`, `.`, `#` and space.
    """
    return np.concatenate([_glyph(character, scale, dark, light) for character in text], axis=1)


@lru_cache(maxsize=256)  # 14 characters in a few sizes
def _glyph(character: str, scale: int, dark: int, light: int) -> npt.NDArray[np.uint8]:
    bits = np.array(
        [[row >> (WIDTH - 2 - dot) & 1 if dot < WIDTH - 1 else 0 for dot in range(WIDTH)] for row in _ROWS[character]]
    )
    pixels: npt.NDArray[np.uint8] = np.where(bits, light, dark).astype(np.uint8)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)

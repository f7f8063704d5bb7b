"""The machine-readable time code in the picture: 48 cells of black and white in the top-left 384 x 32 pixels.

24 columns x 2 rows of 16 x 16 pixel cells, most significant bit first: the low 40 bits of CLOCK_REALTIME in
milliseconds and their CRC-8. Any decoder's luma or green channel gives the clock back, at any usual scale.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import InvalidValue
from schemas.frames import PixelFormat
from shared import pixel_formats
from shared.pixel_formats import Picture

CELL_PIXELS = 16  # one H.264 macroblock, so that neighbours do not bleed into a cell
COLUMNS, ROWS = 24, 2
WIDTH_PIXELS, HEIGHT_PIXELS = COLUMNS * CELL_PIXELS, ROWS * CELL_PIXELS
CLOCK_BITS = 40
_CLOCK_SPAN_MS = 1 << CLOCK_BITS  # the code wraps after 34.8 years
_CLOCK_BYTES = CLOCK_BITS // 8

_CRC_POLYNOMIAL = 0x07
_CRC_INITIAL = 0xA5  # with it neither an all-black nor an all-white area is valid
_NEUTRAL_CHROMA = 128
_LUMA_BLACK, _LUMA_WHITE = 16, 235  # limited range, as cameras and encoders use
_RGB_BLACK, _RGB_WHITE = 0, 255
_MIN_CONTRAST = 64  # less than this between the darkest and the lightest cell is no time code


def _crc_table() -> bytes:
    table = bytearray()
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc << 1 ^ _CRC_POLYNOMIAL) & 0xFF if crc & 0x80 else crc << 1
        table.append(crc)
    return bytes(table)


def _pixel_table(black: int, white: int) -> npt.NDArray[np.uint8]:
    """One line of pixels for each value of a byte: shape (256, 128)."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8).reshape(256, 1), axis=1)
    return np.repeat(np.where(bits == 1, white, black).astype(np.uint8), CELL_PIXELS, axis=1)


_CRC = _crc_table()
_LUMA_LINES = _pixel_table(_LUMA_BLACK, _LUMA_WHITE)
_RGB_LINES = np.repeat(_pixel_table(_RGB_BLACK, _RGB_WHITE)[:, :, np.newaxis], 3, axis=2)
_WIDE_LINES = _pixel_table(_RGB_BLACK, _RGB_WHITE).astype(np.uint16) * 257  # 0 and 65535


def word(ms: int) -> bytes:
    """The six bytes of the code: the low 40 bits of `ms` and their CRC-8."""
    clock = (ms % _CLOCK_SPAN_MS).to_bytes(_CLOCK_BYTES, "big")
    return clock + bytes((_crc8(clock),))


def burn(picture: Picture, ms: int, pixel_format: PixelFormat = "yuv420p") -> None:
    """Write the code for `ms` (milliseconds since 1970) into the top-left corner of `picture`, in place.

    Shapes and types as in `shared.pixel_formats`; yuv420p contiguous. Samples of more than 8 bits get their full scale
    for white; in a mosaic every colour does. Read the clock as the last thing before the call.

    Raises:
        InvalidValue: the picture is smaller than 384 x 32, or yuv420p and not contiguous.
    """
    height, width = picture.shape[:2]
    if pixel_format in pixel_formats.SUBSAMPLED:
        height = height * 2 // 3
    if width < WIDTH_PIXELS or height < HEIGHT_PIXELS:
        raise InvalidValue(
            "size", f"{width}x{height}", f"a time code needs at least {WIDTH_PIXELS}x{HEIGHT_PIXELS} pixels"
        )
    code = np.frombuffer(word(ms), np.uint8)
    lines: Picture
    if pixel_format in pixel_formats.PACKED:
        lines = _RGB_LINES[code].reshape(ROWS, WIDTH_PIXELS, 3)
    elif (bits := pixel_formats.sample_bits(pixel_format)) > 8:
        lines = _WIDE_LINES[code].reshape(ROWS, WIDTH_PIXELS) >> np.uint16(16 - bits)
    else:
        lines = _LUMA_LINES[code].reshape(ROWS, WIDTH_PIXELS)
    picture[:CELL_PIXELS, :WIDTH_PIXELS] = lines[0]
    picture[CELL_PIXELS:HEIGHT_PIXELS, :WIDTH_PIXELS] = lines[1]
    if pixel_format == "nv12":
        picture[height : height + HEIGHT_PIXELS // 2, :WIDTH_PIXELS] = _NEUTRAL_CHROMA
    elif pixel_format == "yuv420p":
        if not picture.flags.c_contiguous:  # reshape would write the chroma into a copy
            raise InvalidValue("picture", "lines with padding", "pass a copy without it")
        chroma = picture.reshape(-1)[height * width :].reshape(2, height // 2, width // 2)
        chroma[:, : HEIGHT_PIXELS // 2, : WIDTH_PIXELS // 2] = _NEUTRAL_CHROMA


def read(plane: npt.NDArray[Any], now_ms: int, scale: float = 1.0) -> int | None:
    """The milliseconds since 1970 in a luma or green `plane` (height, width), or None when there is no valid code.

    `scale` is the picture's width over that of the sender. Of the values that the 40 bits can mean the one
    nearest to `now_ms`, the reader's clock, is returned.
    """
    cell = CELL_PIXELS * scale
    # The middle half of each cell, so that neither edges nor scaling filters count.
    starts = [round(cell * (index + 0.25)) for index in range(COLUMNS)]
    length = round(cell * 0.5)
    if length < 1 or plane.shape[0] < round(cell * ROWS) or plane.shape[1] < round(cell * COLUMNS):
        return None
    means = np.empty(COLUMNS * ROWS)
    for row in range(ROWS):
        lines = plane[starts[row] : starts[row] + length, : starts[-1] + length]
        sums = np.concatenate(([0], np.cumsum(lines.sum(axis=0, dtype=np.int64))))
        means[row * COLUMNS : (row + 1) * COLUMNS] = (sums[np.add(starts, length)] - sums[starts]) / length**2
    darkest, lightest = means.min(), means.max()
    if lightest - darkest < _MIN_CONTRAST:
        return None
    code = np.packbits(means > (darkest + lightest) / 2).tobytes()
    if _crc8(code[:_CLOCK_BYTES]) != code[_CLOCK_BYTES]:
        return None
    behind = (now_ms - int.from_bytes(code[:_CLOCK_BYTES], "big")) % _CLOCK_SPAN_MS
    return now_ms - behind if behind <= _CLOCK_SPAN_MS // 2 else now_ms - behind + _CLOCK_SPAN_MS


def _crc8(data: bytes) -> int:
    crc = _CRC_INITIAL
    for byte in data:
        crc = _CRC[crc ^ byte]
    return crc

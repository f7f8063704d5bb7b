"""Where privacy masks lie in a picture that is cropped, turned and scaled: always rounded outwards."""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from schemas.pictures import Mask
from shared.pixel_formats import Picture

_CELL_PIXELS: Final = 2  # one sample of colour in 4:2:0, or one cell of a mosaic, is never half masked
_LUMA_BLACK, _NEUTRAL_CHROMA = 16, 128


class Area(NamedTuple):
    """Pixels: from `left` and `top` up to, and without, `right` and `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    def within(self, outer: "Area") -> "Area | None":
        """The part inside `outer`, counted from its corner."""
        left, top = max(self.left, outer.left), max(self.top, outer.top)
        right, bottom = min(self.right, outer.right), min(self.bottom, outer.bottom)
        if left >= right or top >= bottom:
            return None
        return Area(left - outer.left, top - outer.top, right - outer.left, bottom - outer.top)

    def turned(self, quarters: int, width: int, height: int) -> "Area":
        """Where it is when the picture of `width` x `height` is turned clockwise by 90 degrees so many times."""
        area = self
        for _ in range(quarters % 4):
            area = Area(height - area.bottom, area.left, height - area.top, area.right)
            width, height = height, width
        return area

    def scaled(self, size: tuple[int, int], to: tuple[int, int]) -> "Area":
        """Every pixel that it touches after scaling from `size` to `to`, whole cells."""
        (width, height), (to_width, to_height) = size, to
        if size == to:
            return self
        return Area(
            _down(self.left * to_width / width),
            _down(self.top * to_height / height),
            min(_up(self.right * to_width / width), to_width),
            min(_up(self.bottom * to_height / height), to_height),
        )


def mask_area(mask: Mask, width: int, height: int, margin_pixels: int = 0) -> Area:
    """The pixels of a source's whole picture that a mask touches, in whole cells, and a margin around."""
    return Area(
        max(_down(mask.x * width) - margin_pixels, 0),
        max(_down(mask.y * height) - margin_pixels, 0),
        min(_up((mask.x + mask.width) * width) + margin_pixels, width),
        min(_up((mask.y + mask.height) * height) + margin_pixels, height),
    )


def blacken(planes: list[Picture], areas: Iterable[Area]) -> None:
    """Make the areas black, in place; `planes` as of `shared.pixel_formats.planes`."""
    luma, *chroma = planes
    black = np.uint8(_LUMA_BLACK if chroma else 0)
    for area in areas:
        luma[area.top : area.bottom, area.left : area.right] = black
        rows = slice(area.top // _CELL_PIXELS, -(-area.bottom // _CELL_PIXELS))
        columns = slice(area.left // _CELL_PIXELS, -(-area.right // _CELL_PIXELS))
        for plane in chroma:
            plane[rows, columns] = np.uint8(_NEUTRAL_CHROMA)


def _down(edge: float) -> int:
    return math.floor(edge) // _CELL_PIXELS * _CELL_PIXELS


def _up(edge: float) -> int:
    return -(-math.ceil(edge) // _CELL_PIXELS) * _CELL_PIXELS

"""Where a picture goes: which part of it, scaled to which size, at which place of the canvas."""

from typing import NamedTuple

from schemas.mix_resources import Box, Crop, MixFit
from services.cloud_mix_proxy.mixer.rect import Rect, even_rect
from shared.media.frames import Area


class Placing(NamedTuple):
    source: Area
    """Of the picture, at an even place."""
    rect: Rect
    """Of the canvas, which it may pass."""


def place(width: int, height: int, box: Box, fit: MixFit, crop: Crop) -> Placing:
    """Place a picture of this size (pixels, even) into a box: by its long side when all of it shall be seen."""
    source = _cropped(width, height, crop)
    bounds = even_rect(box.x, box.y, box.width, box.height)
    if fit == "fill":
        return Placing(source, bounds)
    across, down = bounds.width / source.width, bounds.height / source.height
    if fit == "cover":
        share = max(across, down)
        wide, high = _even(bounds.width / share, source.width), _even(bounds.height / share, source.height)
        left, top = (source.width - wide) // 2 & ~1, (source.height - high) // 2 & ~1
        return Placing(Area(source.left + left, source.top + top, wide, high), bounds)
    share = min(across, down)
    wide, high = _even(source.width * share, bounds.width), _even(source.height * share, bounds.height)
    # The middle, rounded to an even place as libav's filters do.
    left, top = bounds.left + ((bounds.width - wide) // 2 & ~1), bounds.top + ((bounds.height - high) // 2 & ~1)
    return Placing(source, Rect(left, top, left + wide, top + high))


def _cropped(width: int, height: int, crop: Crop) -> Area:
    left, top = round(crop.left * width) & ~1, round(crop.top * height) & ~1
    return Area(
        left,
        top,
        _even(width - left - crop.right * width, width - left),
        _even(height - top - crop.bottom * height, height - top),
    )


def _even(length: float, at_most: int) -> int:
    """The even number nearest to `length`, from 2 to `at_most`."""
    return max(2, min(2 * round(length / 2), at_most))

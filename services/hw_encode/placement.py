"""Where a stream's pictures come to lie in those of a rendition: sizes, bars and cuts, in pixels."""

from dataclasses import dataclass
from functools import lru_cache

from schemas.frames import FrameRef
from schemas.resources import Fit, RenditionSpec
from schemas.units import parse_size
from shared.media.frames import Area, even

_KEPT_RESULTS = 256  # every rendition of a large node; working one out takes longer than looking it up


@dataclass(frozen=True)
class Placement:
    """The part of the stream's picture that is shown, and the part of the rendition's picture that shows it."""

    source: Area
    target: Area
    width: int
    height: int
    """Of the rendition's picture, even as `target` is."""

    @property
    def has_bars(self) -> bool:
        return (self.target.width, self.target.height) != (self.width, self.height)


def placement(ref: FrameRef, size: tuple[int, int] | None, fit: Fit) -> Placement:
    """Of pictures like `ref` in a rendition of this size; None: their own, an odd edge one pixel less."""
    return _place(ref.width, ref.height, size or (even(ref.width), even(ref.height)), fit if size else "fill")


def encoded_size(spec: RenditionSpec, ref: FrameRef) -> tuple[int, int]:
    """Width and height of the rendition's pictures while the stream's are like `ref`."""
    return wanted_size(spec) or (even(ref.width), even(ref.height))


def wanted_size(spec: RenditionSpec) -> tuple[int, int] | None:
    """The size that was asked for."""
    return parse_size(spec.size) if spec.size else None


@lru_cache(_KEPT_RESULTS)
def _place(source_width: int, source_height: int, size: tuple[int, int], fit: Fit) -> Placement:
    width, height = size
    source = Area(0, 0, source_width, source_height)
    target = Area(0, 0, width, height)
    # Compared crosswise, so that equal shapes are found equal.
    wider = source_width * height - source_height * width
    if fit == "contain" and wider > 0:
        target = _middle(width, height, width, _nearest_even(source_height * width / source_width))
    elif fit == "contain" and wider < 0:
        target = _middle(width, height, _nearest_even(source_width * height / source_height), height)
    elif fit == "cover" and wider > 0:
        source = _middle(source_width, source_height, _nearest_even(source_height * width / height), source_height)
    elif fit == "cover" and wider < 0:
        source = _middle(source_width, source_height, source_width, _nearest_even(source_width * height / width))
    return Placement(source, target, width, height)


def _middle(outer_width: int, outer_height: int, width: int, height: int) -> Area:
    """At an even place, as pictures in 4:2:0 and mosaics need."""
    width, height = min(width, outer_width), min(height, outer_height)
    return Area((outer_width - width) // 2 & ~1, (outer_height - height) // 2 & ~1, width, height)


def _nearest_even(edge_pixels: float) -> int:
    return max(2, round(edge_pixels / 2) * 2)

"""Where a stream's pictures come to lie in those of a rendition: sizes, bars and cuts, in pixels."""

from dataclasses import dataclass
from functools import lru_cache

from schemas.colours import ColourSpace
from schemas.frames import FrameRef
from schemas.resources import Fit, RenditionSpec
from schemas.units import parse_size
from shared.media.colour.facts import after_conversion, stated
from shared.media.frames import Area, even

_KEPT_RESULTS = 256  # every rendition of a large node; working one out takes longer than looking it up
# These cannot say what else they are: JFIF, and RFC 6386 section 9.2.
_SD_COLOURS = {
    "mjpeg": ColourSpace(matrix="bt470bg", range="full"),
    "vp8": ColourSpace(matrix="smpte170m", range="limited"),
}


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


def encoded_colours(spec: RenditionSpec, ref: FrameRef) -> ColourSpace:
    """What the rendition says of its pictures while the stream's are like `ref`."""
    if spec.codec in _SD_COLOURS:
        return _SD_COLOURS[spec.codec]
    return after_conversion(ref.colour_space, ref.pixel_format, "yuv420p", ref.height)


def is_other(space: ColourSpace, lines: int, *, sd_matrix: bool) -> bool:
    """Whether pictures of so many lines have other colours than encoders take: full range, which not every one can say
    and not every player hears, or for `sd_matrix` what is not BT.601."""
    if space.range == "full":
        return True
    return sd_matrix and stated(space, lines).matrix not in ("smpte170m", "bt470bg")


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

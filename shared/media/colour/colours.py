"""What the numbers of a frame mean: its matrix, range, light and primaries, guessed where nothing is said."""

from dataclasses import dataclass
from typing import Literal

from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

from shared.media.colour.facts import FULL_RANGE_NAMES, assumed_matrix

Matrix = Literal["rgb", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "ycgco", "bt2020ncl"]
"""As libavfilter's `colorspace` names them; `rgb` has none."""
Light = Literal["sdr", "pq", "hlg"]
Primaries = Literal["bt709", "smpte431", "smpte432", "bt2020"]

# AVColorSpace, ITU-T H.273 table 4. 10 is constant luminance, which nothing in use writes.
_MATRICES: dict[int, Matrix] = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020ncl",
    10: "bt2020ncl",
}
# Those of SD differ from BT.709's by less than is seen; players leave them as they are.
_WIDE: dict[int, Primaries] = {
    ColorPrimaries.BT2020: "bt2020",
    ColorPrimaries.SMPTE431: "smpte431",
    ColorPrimaries.SMPTE432: "smpte432",
}
_LIGHTS: dict[int, Light] = {ColorTrc.SMPTE2084: "pq", ColorTrc.ARIB_STD_B67: "hlg"}


@dataclass(frozen=True)
class Colours:
    """How the samples of a frame are to be read."""

    matrix: Matrix
    full: bool
    """Samples use all values, not 16 to 235 of 255."""
    light: Light
    primaries: Primaries


RGB = Colours("rgb", True, "sdr", "bt709")
JFIF = Colours("bt470bg", True, "sdr", "bt709")
"""What every reader of jpg expects: BT.601, full range (JFIF 1.02)."""
WEBP = Colours("bt470bg", False, "sdr", "bt709")
"""RFC 9649: BT.601, limited range."""


def colours_of(frame: VideoFrame) -> Colours:
    """As the frame says; what it does not say as players guess it."""
    light = _LIGHTS.get(frame.color_trc, "sdr")
    primaries = _WIDE.get(frame.color_primaries, "bt709")
    if light != "sdr" and frame.color_primaries == ColorPrimaries.UNSPECIFIED:
        primaries = "bt2020"  # BT.2100 has no other
    name = frame.format.name
    if frame.format.is_rgb or is_palette(frame) or name.startswith(("bayer", "xyz")):
        return Colours("rgb", True, light, primaries)
    if is_grey(frame) and frame.color_range == ColorRange.UNSPECIFIED:
        full = True  # as libav takes grey
    else:
        full = name.startswith(FULL_RANGE_NAMES) or frame.color_range == ColorRange.JPEG
    return Colours(_matrix(frame, light), full, light, primaries)


def is_palette(frame: VideoFrame) -> bool:
    return frame.format.has_palette


def is_grey(frame: VideoFrame) -> bool:
    return frame.format.name.startswith(("gray", "mono"))


def has_alpha(frame: VideoFrame) -> bool:
    return is_palette(frame) or any(component.is_alpha for component in frame.format.components)


def _matrix(frame: VideoFrame, light: Light) -> Matrix:
    said = _MATRICES.get(frame.colorspace)
    if said is not None and said != "rgb":  # samples in YUV that call themselves RGB: a broken header
        return said
    if light != "sdr":
        return "bt2020ncl"
    return assumed_matrix(frame.height)

"""What libav's frames say of their colours and what frame references say, each made of the other; what neither says."""

from functools import lru_cache
from typing import Any, Final, Literal

from av.video.frame import VideoFrame

from schemas.colours import UNSPECIFIED, ColourSpace, Matrix, Range, codes, colour_space
from shared.pixel_formats import MOSAICS, PACKED, SUBSAMPLED

HD_LINES: Final = 720  # of height; BT.709 was made for such pictures, and browsers draw the line there
_KEPT: Final = 64  # a node's streams have a few
FULL_RANGE_NAMES: Final = "yuvj"  # libav's old names of formats that are full range whatever else is said


def assumed_matrix(height: int) -> Literal["bt709", "smpte170m"]:
    """That of YUV of so many lines whose matrix is not specified."""
    return "bt709" if height >= HD_LINES else "smpte170m"


def stated(space: ColourSpace, height: int) -> ColourSpace:
    """The same in words, of YUV of so many lines: for what will be another size, or is read by others' rules."""
    return _stated(space, assumed_matrix(height))


def colour_space_of(frame: VideoFrame) -> ColourSpace:
    """As the frame says, and its format."""
    name = frame.format.name
    space = said(frame)
    if frame.format.is_rgb or frame.format.has_palette or name.startswith("bayer"):
        return _with(space, "rgb", "full")
    if name.startswith(FULL_RANGE_NAMES):
        return _with(space, space.matrix, "full")
    # YUV that calls itself RGB has a broken header.
    return _with(space, "unspecified", space.range) if space.matrix == "rgb" else space


def said(source: Any) -> ColourSpace:
    """As a frame, or the context of a decoder, says, and nothing else."""
    return _said(int(source.colorspace), int(source.color_range), int(source.color_primaries), int(source.color_trc))


def after_conversion(space: ColourSpace, source_format: str, pixel_format: str, height: int) -> ColourSpace:
    """Of a picture of so many lines once `shared.media.frames.convert` has made another format of it."""
    if pixel_format in PACKED:
        return _with(space, "rgb", "full")
    if pixel_format not in SUBSAMPLED:  # grey, as libav makes it
        return _with(space, "unspecified", "full")
    if space.matrix == "rgb" or source_format in PACKED or source_format in MOSAICS:
        return _with(space, assumed_matrix(height), "limited")
    return _with(space, stated(space, height).matrix, "limited")


def mark(frame: Any, space: ColourSpace) -> Any:
    """Have a frame, or the context of an encoder or a decoder, say so; returns it. What is not specified stays."""
    if space is not UNSPECIFIED:
        frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = codes(space)
    return frame


@lru_cache(_KEPT)
def _said(matrix: int, colour_range: int, primaries: int, transfer: int) -> ColourSpace:
    return colour_space(matrix, colour_range, primaries, transfer)


@lru_cache(_KEPT)
def _stated(space: ColourSpace, assumed: Matrix) -> ColourSpace:
    return ColourSpace(
        matrix=assumed if space.matrix == "unspecified" else space.matrix,
        range="limited" if space.range == "unspecified" else space.range,
        primaries=space.primaries,
        transfer=space.transfer,
    )


@lru_cache(_KEPT)
def _with(space: ColourSpace, matrix: Matrix, colour_range: Range) -> ColourSpace:
    if (space.matrix, space.range) == (matrix, colour_range):
        return space
    return ColourSpace(matrix=matrix, range=colour_range, primaries=space.primaries, transfer=space.transfer)

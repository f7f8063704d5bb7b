"""Pictures as arrays and as libav frames, without a copy where libav allows it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from schemas.frames import FrameRef, PixelFormat
from shared import pixel_formats
from shared.media.colour.facts import assumed_matrix, mark
from shared.pixel_formats import Picture

# libav prepares a conversion once per reformatter, which takes as long as a conversion does; a thread's pictures are
# mostly alike, so each thread keeps one for each pair of formats.
_kept = threading.local()
# Whoever converts has a thread of its own, and the other cores have other streams.
_CONVERSION_THREADS = 1
_DEEP_GRAY = frozenset[str](("gray10le", "gray12le", "gray16le"))
_EIGHT_BIT = frozenset[str](("bgr24", "rgb24"))
_JPEG_FORMATS = frozenset[str](("yuvj420p", "yuvj422p", "yuvj444p"))
_NOT_SAID = 2  # AVCOL_SPC_UNSPECIFIED
MATRICES = {"bt709": Colorspace.ITU709, "smpte170m": Colorspace.ITU601}


@dataclass(frozen=True)
class Area:
    """A part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


def convert(
    frame: VideoFrame, pixel_format: str, width: int | None = None, height: int | None = None, lines: int | None = None
) -> VideoFrame:
    """The picture in another format and size; itself when there is nothing to do.

    YUV keeps its matrix, RGB becomes YUV in that of its height; what is made for a JPEG is BT.601 of full range, all
    other 4:2:0 of limited range.

    Args:
        lines: height of the whole picture, of which `frame` is a part; it tells a matrix that is not specified.
    """
    lines = lines or frame.height
    if frame.format.name in pixel_formats.MOSAICS and pixel_format not in ("bgr24", frame.format.name):
        frame = _convert(frame, "bgr24", None, None, lines)  # straight to yuv420p libav makes other colours of them
    elif frame.format.name in _DEEP_GRAY and pixel_format in _EIGHT_BIT:
        frame = _convert(frame, "gray", None, None, lines)  # straight to bgr24 libav takes three times as long
    return _convert(frame, pixel_format, width, height, lines)


def _convert(frame: VideoFrame, pixel_format: str, width: int | None, height: int | None, lines: int) -> VideoFrame:
    reformatters: dict[tuple[str, str], VideoReformatter] | None = getattr(_kept, "reformatters", None)
    if reformatters is None:
        reformatters = _kept.reformatters = {}
    key = (frame.format.name, pixel_format)
    reformatter = reformatters.get(key)
    if reformatter is None:
        reformatter = reformatters[key] = VideoReformatter()
    # Webcams' JPEGs and some cameras' H.264 are full range; what says nothing, as most of the ring, is limited.
    limit = frame.color_range == ColorRange.JPEG and pixel_format in pixel_formats.SUBSAMPLED
    matrix, wanted = _matrices(frame, pixel_format, MATRICES[assumed_matrix(lines)])
    return reformatter.reformat(
        frame,
        width,
        height,
        pixel_format,
        src_colorspace=matrix,
        dst_colorspace=wanted,
        dst_color_range=ColorRange.MPEG if limit else None,
        threads=_CONVERSION_THREADS,
    )


def _matrices(frame: VideoFrame, pixel_format: str, assumed: Colorspace) -> tuple[Colorspace | None, Colorspace | None]:
    """Those that libav is told, of the frame and of what is made of it; None: what the frame says."""
    if frame.format.is_rgb or frame.format.name in pixel_formats.MOSAICS:
        if pixel_format in pixel_formats.SUBSAMPLED:
            return None, assumed
        return None, Colorspace.ITU601 if pixel_format in _JPEG_FORMATS else None
    said = assumed if frame.colorspace == _NOT_SAID else None
    if pixel_format in _JPEG_FORMATS:
        return said, Colorspace.ITU601
    return (said, None) if pixel_format in pixel_formats.PACKED else (None, None)


def ref_frame(array: Picture, ref: FrameRef, area: Area | None = None) -> VideoFrame:
    """`array_frame` of a picture in the ring, with what its reference says of its colours."""
    frame = array_frame(array, ref.pixel_format, ref.width, ref.height, area)
    # libav takes what is no YUV by its format, and says of YUV made of it what is said here.
    return mark(frame, ref.colour_space) if ref.pixel_format in pixel_formats.SUBSAMPLED else frame


def picture_frame(array: Picture, ref: FrameRef, *, copy: bool, pixel_format: str = "yuv420p") -> VideoFrame:
    """A libav frame of a picture in the ring, of even width and height: an odd edge is scaled to one pixel less.

    Args:
        pixel_format: of the frame, in 4:2:0.
        array: the leased picture, in the form `ref.pixel_format` has; see `shared.pixel_formats`.
        copy: True when libav may read the picture after it was handed over; otherwise it is used in place, and
            the array stays alive for as long as libav holds the frame.
    """
    frame = ref_frame(array, ref)
    picture = convert(frame, pixel_format, even(ref.width), even(ref.height))
    return copied(picture) if picture is frame and copy else picture


def even(edge_pixels: int) -> int:
    """The edge of the largest picture in 4:2:0 that fits: one pixel less where it is odd."""
    return max(2, edge_pixels & ~1)


def bgr_of(array: Picture, ref: FrameRef) -> npt.NDArray[np.uint8]:
    """A copy of a picture in the ring as bgr24: uint8, shape (height, width, 3), writable."""
    frame = convert(ref_frame(array, ref), "bgr24")
    bgr: npt.NDArray[np.uint8] = np.empty((ref.height, ref.width, 3), np.uint8)
    np.copyto(bgr, frame_planes(frame, "bgr24")[0])
    return bgr


def array_frame(
    array: Picture, pixel_format: PixelFormat, width: int, height: int, area: Area | None = None
) -> VideoFrame:
    """A libav frame that uses a contiguous array, or an area of it at an even place, in place."""
    # PyAV's from_numpy_buffer takes pictures in 4:2:0 only in heights that are multiples of four.
    if area is None and not (pixel_format in pixel_formats.SUBSAMPLED and height % 4):
        return _packed_frame(array, pixel_format)
    return _planes_frame(pixel_formats.planes(array, pixel_format, width, height), pixel_format, area)


def cropped_frame(frame: VideoFrame, area: Area) -> VideoFrame:
    """An area at an even place of a libav frame in 4:2:0, in the same memory."""
    if area == Area(0, 0, frame.width, frame.height):
        return frame
    return _marked_as(_planes_frame(frame_planes(frame, _layout(frame)), frame.format.name, area), frame)


def sibling(frame: VideoFrame) -> VideoFrame:
    """Another libav frame in 4:2:0 on the same memory, with a time and a type of its own: for another encoder.

    Both are to be read only.
    """
    twin = VideoFrame.from_dlpack(frame.planes, format=frame.format.name, width=frame.width, height=frame.height)
    return _marked_as(twin, frame)


def _marked_as(twin: VideoFrame, frame: VideoFrame) -> VideoFrame:
    twin.color_range, twin.colorspace = frame.color_range, frame.colorspace
    twin.color_primaries, twin.color_trc = frame.color_primaries, frame.color_trc
    return twin


def _layout(frame: VideoFrame) -> PixelFormat:
    return "nv12" if frame.format.name == "nv12" else "yuv420p"


def _planes_frame(planes: Sequence[Picture], pixel_format: str, area: Area | None) -> VideoFrame:
    if area is not None:
        planes = [_cut(plane, area, 2 if place else 1) for place, plane in enumerate(planes)]
    if len(planes) == 1:
        return _packed_frame(planes[0], pixel_format)
    height, width = planes[0].shape
    # Each plane first as a grey picture: those may have any height and any distance between their lines.
    grey = [_packed_frame(plane.reshape(len(plane), -1), "gray").planes[0] for plane in planes]
    return VideoFrame.from_dlpack(grey, format=pixel_format, width=width, height=height)


def _cut(plane: Picture, area: Area, share: int) -> Picture:
    top, left = area.top // share, area.left // share
    return plane[top : top + area.height // share, left : left + area.width // share]


def _packed_frame(array: Any, pixel_format: str) -> VideoFrame:
    return VideoFrame.from_numpy_buffer(array, format=pixel_format)  # its types know no array of either sample type


def copied(frame: VideoFrame) -> VideoFrame:
    """A libav frame in 4:2:0 in memory of its own."""
    twin = VideoFrame(frame.width, frame.height, frame.format.name)
    layout = _layout(frame)
    for target, source in zip(frame_planes(twin, layout), frame_planes(frame, layout), strict=True):
        np.copyto(target, source)
    return _marked_as(twin, frame)


def frame_planes(frame: VideoFrame, pixel_format: PixelFormat) -> list[Picture]:
    """The planes of a libav frame of this format as writable views, without the padding of its lines.

    Never write to a decoder's frame: later pictures are made from it.
    """
    shapes = pixel_formats.plane_shapes(pixel_format, frame.width, frame.height)
    dtype: np.dtype[np.uint8 | np.uint16] = np.dtype(pixel_formats.sample_type(pixel_format))
    return [_view(plane, shape, dtype) for plane, shape in zip(frame.planes, shapes, strict=True)]


def _view(plane: Any, shape: tuple[int, ...], dtype: "np.dtype[np.uint8 | np.uint16]") -> Picture:
    line_bytes = abs(plane.line_size)
    steps = (dtype.itemsize,) if len(shape) == 2 else (shape[2] * dtype.itemsize, dtype.itemsize)
    view: Picture = np.ndarray(shape, dtype, plane, strides=(line_bytes, *steps))
    return view[::-1] if plane.line_size < 0 else view  # bottom line first, as in a BMP

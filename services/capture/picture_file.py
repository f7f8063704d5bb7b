"""A picture of the ring as a file: jpg or png, of every pixel format.

Colours are those of `Frame.bgr()`: BT.601, limited range in, as libav takes pictures that say nothing. A jpg is made
from the planes, stretched to the full range that JFIF asks for, without a detour through RGB.
"""

from fractions import Fraction
from typing import Any, Literal, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from schemas.frames import FrameRef, PixelFormat

Format = Literal["jpg", "png"]
_CODECS: dict[Format, str] = {"jpg": "mjpeg", "png": "png"}
_PLANAR = ("yuv420p", "nv12")
# mjpeg is then as true as libjpeg at quality 50, and at 90 with its finest scale: measured on a film, 42.3 dB both.
_QSCALE_AT_HALF_QUALITY = 6
_MAX_QSCALE = 31
_PNG_LEVEL = "1"  # of zlib: 3 times as fast as its default 6, and 5 % larger


class PictureFile(NamedTuple):
    """An encoded picture."""

    data: bytes
    width: int
    height: int


def encode_picture(
    array: npt.NDArray[Any], ref: FrameRef, file_format: Format, *, quality: int = 90, max_width: int | None = None
) -> PictureFile:
    """The file. Blocks: some milliseconds for a jpg of 1080p, ten times that for a png. `array` is only read.

    Args:
        array: a picture in the ring, in the form that `ref.pixel_format` has.
        quality: of a jpg, 1 to 100 as libjpeg counts it.
        max_width: wider pictures are scaled down to it, their aspect kept.
    """
    frame = _frame(array, ref)
    width, height = ref.width, ref.height
    if max_width is not None and width > max_width:
        width, height = max_width, max(2, round(height * max_width / width / 2) * 2)
    form = "yuvj420p" if file_format == "jpg" else _png_format(ref.pixel_format)
    if ref.pixel_format.startswith("bayer") and form != "rgb48be":
        frame = frame.reformat(format="rgb24")  # libav makes colours of these at their own size only
    full = form == "yuvj420p" or form.startswith("gray")
    of_planes = ref.pixel_format in _PLANAR
    frame = frame.reformat(
        width=width,
        height=height,
        format=form,
        interpolation="AREA" if width != ref.width else None,
        src_color_range=ColorRange.MPEG if of_planes else ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if full else None,
        threads=1,
    )
    return PictureFile(_encode(frame, file_format, quality), width, height)


def _frame(array: npt.NDArray[Any], ref: FrameRef) -> VideoFrame:
    samples = array.view(np.uint16) if ref.pixel_format.endswith("le") and array.dtype == np.uint8 else array
    # PyAV takes planar pictures in place only in heights that are multiples of four; others are copied.
    if ref.pixel_format in _PLANAR and ref.height % 4:
        return VideoFrame.from_ndarray(samples, format=ref.pixel_format)
    return VideoFrame.from_numpy_buffer(samples, format=ref.pixel_format)


def _png_format(pixel_format: PixelFormat) -> str:
    if pixel_format.startswith("gray"):
        return "gray" if pixel_format == "gray" else "gray16be"
    return "rgb48be" if pixel_format.startswith("bayer") and pixel_format.endswith("le") else "rgb24"


def _encode(frame: VideoFrame, file_format: Format, quality: int) -> bytes:
    context = av.CodecContext.create(_CODECS[file_format], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.framerate = Fraction(1)
    context.thread_count = 1  # with frame threads the encoder would read the picture after it was given back
    if file_format == "jpg":
        context.qmin = context.qmax = _qscale(quality)
    else:
        context.options = {"compression_level": _PNG_LEVEL, "pred": "up"}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def _qscale(quality: int) -> int:
    """libjpeg's quality as mjpeg's scale: libjpeg's tables are those of quality 50 times this percentage."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return min(_MAX_QSCALE, max(1, round(_QSCALE_AT_HALF_QUALITY * percent / 100)))

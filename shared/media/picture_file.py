"""A picture of the ring as a file: jpg, png or webp, of every pixel format.

Colours are those of `Frame.bgr()`: as the picture's reference says. A jpg is made from the planes, in the full range
that JFIF asks for, without a detour through RGB; a webp from the planes too.
"""

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.frames import PixelFormat
from schemas.stills import StillFormat
from shared.media.colour.facts import mark
from shared.media.colour.graphs import run
from shared.media.colour.steps import Samples, sample_steps
from shared.media.frames import array_frame, frame_planes
from shared.pixel_formats import SUBSAMPLED, Picture

FILE_SAMPLES: dict[StillFormat, Samples] = {"jpg": "jfif", "webp": "webp", "png": "rgb24"}
"""What each format takes of pictures with colour."""
_CODECS = {"png": "png", "webp": "libwebp"}
# Of 0 to 6: half the time of its default 4, and 6 % larger.
_WEBP_EFFORT = "2"
_PNG_LEVEL = "1"  # of zlib: 3 times as fast as its default 6, and 5 % larger


class PictureFile(NamedTuple):
    """An encoded picture."""

    data: bytes
    width: int
    height: int


def encode_picture(
    array: Picture,
    pixel_format: PixelFormat,
    width: int,
    height: int,
    file_format: StillFormat,
    *,
    quality: int = 90,
    max_width: int | None = None,
    size: tuple[int, int] | None = None,
    colour_space: ColourSpace = UNSPECIFIED,
) -> PictureFile:
    """The file. Blocks: some milliseconds for a jpg of 1080p, ten times that for a png. `array` is only read.

    Args:
        array: a picture of that width and height, in the form that `shared.pixel_formats` says.
        quality: of a jpg or webp, 1 to 100 as libjpeg counts it.
        max_width: wider pictures are scaled down to it, their aspect kept.
        size: all are scaled to it.
        colour_space: how its samples are to be read.

    Raises:
        av.FFmpegError, ValueError: libav cannot make such a file of such a picture.
    """
    samples = array.view(np.uint16) if pixel_format.endswith("le") and array.dtype == np.uint8 else array
    frame = array_frame(samples, pixel_format, width, height)
    target = width, height
    if size is not None:
        target = size
    elif max_width is not None and width > max_width:
        target = max_width, max(2, round(height * max_width / width / 2) * 2)
    if pixel_format in SUBSAMPLED:
        frame = run(mark(frame, colour_space), sample_steps(frame, target, FILE_SAMPLES[file_format]))
    else:
        frame = _reformatted(frame, pixel_format, target, file_format)
    return PictureFile(write_picture(frame, file_format, quality), *target)


def write_picture(frame: VideoFrame, file_format: StillFormat, quality: int) -> bytes:
    """The file of samples as that format takes them; the frame is read no more once it returns.

    Args:
        frame: of a jpg planes in 4:2:0, BT.601 of full range, or grey; of a webp BT.601 of limited range; of a png RGB
            or grey.
        quality: of a jpg or webp, 1 to 100 as libjpeg counts it.

    Raises:
        av.FFmpegError, ValueError: libav cannot make such a file of such a frame.
    """
    return _jpg(frame, quality) if file_format == "jpg" else _encode(frame, file_format, quality)


def _reformatted(
    frame: VideoFrame, pixel_format: PixelFormat, target: tuple[int, int], file_format: StillFormat
) -> VideoFrame:
    """Of RGB, grey and mosaics; deep ones keep their depth in a png."""
    form = {"jpg": _jpg_format(pixel_format), "webp": "yuv420p", "png": _png_format(pixel_format)}[file_format]
    if pixel_format.startswith("bayer") and form != "rgb48be":
        frame = frame.reformat(format="rgb24")  # libav makes colours of these at their own size only
    full = form == "yuvj420p" or form.startswith("gray")
    limited = ColorRange.MPEG if file_format == "webp" else None
    return frame.reformat(
        width=target[0],
        height=target[1],
        format=form,
        interpolation="AREA" if target != (frame.width, frame.height) else None,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if full else limited,
        threads=1,
    )


def _jpg_format(pixel_format: PixelFormat) -> str:
    return "gray" if pixel_format.startswith("gray") else "yuvj420p"


def _png_format(pixel_format: PixelFormat) -> str:
    if pixel_format.startswith("gray"):
        return "gray" if pixel_format == "gray" else "gray16be"
    return "rgb48be" if pixel_format.startswith("bayer") and pixel_format.endswith("le") else "rgb24"


def _jpg(frame: VideoFrame, quality: int) -> bytes:
    # libjpeg-turbo: 3.5 ms of CPU for the planes of 1080p, where libav's mjpeg takes 8.4 and Pillow, from RGB, 7.0.
    grey = frame.format.name == "gray"
    planes = [*frame_planes(frame, "gray"), None, None] if grey else frame_planes(frame, "yuv420p")
    data: bytes = simplejpeg.encode_jpeg_yuv_planes(*planes, quality)
    return data


def _encode(frame: VideoFrame, file_format: StillFormat, quality: int) -> bytes:
    context = av.CodecContext.create(_CODECS[file_format], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.framerate = Fraction(1)
    context.thread_count = 1  # with frame threads the encoder would read the picture after it was given back
    if file_format == "webp":
        context.options = {"quality": str(quality), "compression_level": _WEBP_EFFORT}
    else:
        context.options = {"compression_level": _PNG_LEVEL, "pred": "up"}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))

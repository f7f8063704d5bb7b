"""One picture as an image file in memory."""

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from schemas.errors import InvalidValue

# Encoder, its pixel format, its options.
_KINDS: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    ".jpg": ("mjpeg", "yuvj420p", {}),
    ".jpeg": ("mjpeg", "yuvj420p", {}),
    ".png": ("png", "rgb24", {"compression_level": "1", "pred": "up"}),  # zlib's default takes 3 times as long
    ".bmp": ("bmp", "bgr24", {}),
    ".webp": ("libwebp", "yuv420p", {"quality": "90"}),
}
_JPEG_QSCALE: Final = 1  # libav's finest: as good as libjpeg's quality 95, which OpenCV takes


def encode_still(ext: str, frame: VideoFrame) -> NDArray[np.uint8]:
    """The file's bytes. Blocks: some milliseconds for a jpg of 1080p.

    Raises:
        InvalidValue: no such kind of file, or a picture that is too large for it.
    """
    if not isinstance(ext, str):
        raise InvalidValue("ext", ext, f"use {', '.join(_KINDS)}")
    kind = ext.lower() if ext.startswith(".") else f".{ext.lower()}"
    if kind not in _KINDS:
        raise InvalidValue("ext", ext, f"use {', '.join(_KINDS)}")
    encoder, pixel_format, options = _KINDS[kind]
    full = frame.color_range == ColorRange.JPEG
    picture = frame.reformat(
        format=pixel_format,
        src_color_range=None if full else ColorRange.MPEG,
        dst_color_range=ColorRange.MPEG if encoder == "libwebp" else ColorRange.JPEG,
        threads=1,
    )
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = picture.width, picture.height, picture.format.name
    context.framerate, context.options = Fraction(1), options
    if encoder == "mjpeg":
        context.qmin = context.qmax = _JPEG_QSCALE
    picture.pts = 0
    try:
        data = b"".join(map(bytes, (*context.encode(picture), *context.encode(None))))
    except (av.FFmpegError, OSError, ValueError) as error:
        size = f"{frame.width}x{frame.height}"
        raise InvalidValue("image", size, f"{encoder} does not take this size: {error}") from None
    return np.frombuffer(data, np.uint8)

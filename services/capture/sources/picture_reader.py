"""Reads one picture file: png, jpg, webp, bmp or tiff, by what is in it and not by its name."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
from av.video.codeccontext import VideoCodecContext

from schemas.errors import BadRequest

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

MAX_FILE_BYTES: Final = 256 << 20  # 64 Mpixel of tiff with 4 bytes a pixel
# libav refuses more before it takes any memory. 8192 x 6144, the largest industrial sensors, is 50 million.
MAX_PIXELS: Final = 64_000_000

_CODECS: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "mjpeg"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)


def read_picture(path: Path) -> "VideoFrame":
    """The decoded picture.

    Raises:
        BadRequest: it is none, is damaged or cut short, or is too large.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadRequest(f"{path.name}: more than {MAX_FILE_BYTES} bytes")
    codec = _codec_of(data, path.name)
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    if codec == "mjpeg":  # the others refuse by themselves what is cut short
        decoder.options["err_detect"] = "explode"
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except (av.FFmpegError, ValueError) as error:
        raise BadRequest(
            f"{path.name}: cannot be decoded; it is damaged, cut short, or has more than {MAX_PIXELS} pixels ({error})"
        ) from None
    if not frames or frames[0].is_corrupt:
        raise BadRequest(f"{path.name}: is damaged or cut short")
    return frames[0]


def _codec_of(data: bytes, name: str) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    for magic, codec in _CODECS:
        if data.startswith(magic):
            return codec
    raise BadRequest(f"{name}: is no png, jpg, webp, bmp or tiff")

"""What an `Encoder` is asked for, checked before anything is opened."""

import os
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from msgspec import Struct

from schemas.encoder_parameters import DEFAULT_FRAMERATE, parse_parameters
from schemas.encoding import check_encoding
from schemas.errors import InvalidValue
from schemas.packets import VideoCodec
from schemas.resources import RenditionSpec
from shared.clients.sail.handle import Handle, device_of

_CODECS: Final[dict[str, VideoCodec]] = {
    "h264_bm": "h264", "h265_bm": "hevc", "hevc_bm": "hevc", "h264": "h264", "h265": "hevc", "hevc": "hevc",
}  # fmt: skip
_PIXEL_FORMATS: Final[dict[str, Literal["yuv420p", "nv12"]]] = {"I420": "yuv420p", "NV12": "nv12"}
# libav's muxer by the ending of a file's name.
_MUXERS: Final[dict[str, str]] = {
    ".mp4": "mp4", ".mov": "mov", ".ts": "mpegts", ".mkv": "matroska", ".flv": "flv",
    ".h264": "h264", ".264": "h264", ".h265": "hevc", ".265": "hevc", ".hevc": "hevc",
}  # fmt: skip
_DEFAULT_ENDING: Final = ".mp4"  # of names without one
_RAW: Final[dict[str, VideoCodec]] = {"h264": "h264", "hevc": "hevc"}
T = TypeVar("T")
_MAX_QUEUE: Final = 1024  # of 1080p 3 GB: more is a slip


class EncoderRequest(Struct, frozen=True, kw_only=True):
    """An encoder's arguments, understood."""

    codec: VideoCodec
    pixel_format: Literal["yuv420p", "nv12"]
    width: int
    height: int
    framerate: float
    rendition: dict[str, Any]
    """Fields of the rendition, beside its codec."""
    file: Path | None
    """What it writes; None: it pushes to `url`."""
    muxer: str
    url: str
    queue: int
    b_frames: int


def read_request(
    output_path: str, device: "Handle | int", enc_fmt: str, pix_fmt: str, enc_params: str, cache_buffer_length: int
) -> EncoderRequest:
    """The arguments of an `Encoder` for video.

    Raises:
        InvalidValue: names the argument, its value and the fix.
    """
    device_of(device)
    codec = _one_of(_CODECS, "enc_fmt", enc_fmt)
    pixel_format = _one_of(_PIXEL_FORMATS, "pix_fmt", pix_fmt)
    if isinstance(cache_buffer_length, bool) or not isinstance(cache_buffer_length, int):
        raise InvalidValue("cache_buffer_length", cache_buffer_length, "write a whole number")
    if not 1 <= cache_buffer_length <= _MAX_QUEUE:
        raise InvalidValue("cache_buffer_length", cache_buffer_length, f"use 1 to {_MAX_QUEUE} pictures")
    if not isinstance(enc_params, str):
        raise InvalidValue("enc_params", enc_params, "write one string, for example width=1920:height=1080")
    parameters = parse_parameters(enc_params, "enc_params")
    if parameters.width is None or parameters.height is None:
        raise InvalidValue("enc_params", enc_params, "give width and height, for example width=1920:height=1080")
    fields = parameters.fields()
    check_encoding(RenditionSpec(stream="sail", codec=codec, **fields), "enc_params.")
    for name in ("size", "fps"):  # the stream itself has them
        fields.pop(name, None)
    if not isinstance(output_path, str | os.PathLike):
        raise InvalidValue("output_path", output_path, "write one string")
    file, url = _target(str(output_path))
    muxer = ""
    if file is not None:
        ending = file.suffix.lower() or _DEFAULT_ENDING
        muxer = _one_of(_MUXERS, "output_path", ending, str(output_path), "end it in ")
        if _RAW.get(muxer, codec) != codec:
            raise InvalidValue("output_path", str(output_path), f"it holds {muxer} only; enc_fmt is {enc_fmt}")
    return EncoderRequest(
        codec=codec,
        pixel_format=pixel_format,
        width=parameters.width,
        height=parameters.height,
        framerate=parameters.framerate or DEFAULT_FRAMERATE,
        rendition=fields,
        file=file,
        muxer=muxer,
        url=url,
        queue=cache_buffer_length,
        b_frames=fields.get("b_frames", 0),
    )


def _target(output_path: str) -> tuple[Path | None, str]:
    scheme, separator, rest = output_path.partition("://")
    if separator and scheme != "file":
        return None, output_path
    name = rest if separator else output_path
    if "\0" in name:
        raise InvalidValue("output_path", output_path, "no zero bytes in a name")
    path = Path(os.path.realpath(name))  # a link stays one: the file takes the name that it leads to
    if not name or not os.path.isdir(path.parent):
        raise InvalidValue("output_path", output_path, "its folder does not exist; make it first")
    if os.path.isdir(path):
        raise InvalidValue("output_path", output_path, "it is a folder; name a file")
    if os.path.exists(path) and not os.path.isfile(path):  # what is complete takes its place, also of /dev/null
        raise InvalidValue("output_path", output_path, "it is a device or a pipe; name a file")
    return path, ""


def _one_of(known: dict[str, T], field: str, value: object, shown: object = None, verb: str = "use ") -> T:
    if not isinstance(value, str) or value not in known:
        raise InvalidValue(field, value if shown is None else shown, f"{verb}{', '.join(known)}")
    return known[value]

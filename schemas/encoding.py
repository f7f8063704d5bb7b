"""How a rendition's pictures are encoded: a part of its spec, judged before anything is started."""

from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta

from schemas.errors import InvalidValue
from schemas.packets import VideoCodec
from schemas.units import parse_bitrate, parse_duration

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
"""One scale for every encoder, x264's names: from the least work per picture to the best picture per bit."""
RateControl = Literal["cbr", "vbr", "crf", "qp"]
Quality = Annotated[int, Meta(ge=0, le=63, description="of crf and qp; lower is better; 0-51 for h264 and hevc")]

BITRATE_RANGE: Final = (16_000, 400_000_000)  # below, x264 makes nothing; above, nobody's path carries it
# The quantizers each codec has, lowest (best) to highest; mjpeg's are those of libav's qscale.
QUALITY_RANGES: Final[dict[VideoCodec, tuple[int, int]]] = {
    "h264": (0, 51),
    "hevc": (0, 51),
    "av1": (1, 63),
    "vp8": (4, 63),
    "vp9": (0, 63),
    "mjpeg": (2, 31),
}
# What the encoders of a codec have: vp8's crf is an upper bound of vbr only, and a JPEG has one quantizer per picture.
RATE_CONTROLS: Final[dict[VideoCodec, tuple[RateControl, ...]]] = {
    "h264": ("cbr", "vbr", "crf", "qp"),
    "hevc": ("cbr", "vbr", "crf", "qp"),
    "av1": ("cbr", "vbr", "crf", "qp"),
    "vp8": ("cbr", "vbr"),
    "vp9": ("cbr", "vbr", "crf", "qp"),
    "mjpeg": ("vbr", "qp"),
}


class Encoding(Protocol):
    """What is judged here; `RenditionSpec` has it."""

    @property
    def codec(self) -> VideoCodec: ...
    @property
    def bitrate(self) -> str: ...
    @property
    def key_interval(self) -> str: ...
    @property
    def preset(self) -> Preset: ...
    @property
    def audio_bitrate(self) -> str: ...


def check_encoding(spec: Encoding, path: str = "") -> None:
    """Refuse what no encoder can do. `path`: where it stands, `streams.cam0.renditions.main.` in a file.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    _bitrate(spec.bitrate, f"{path}bitrate")
    parse_bitrate(spec.audio_bitrate, f"{path}audio_bitrate")
    parse_duration(spec.key_interval, f"{path}key_interval")
    if spec.codec == "mjpeg" and spec.preset != "ultrafast":
        raise InvalidValue(f"{path}preset", spec.preset, "mjpeg has no presets; leave it out")


def _bitrate(text: str, field: str) -> int:
    lowest, highest = BITRATE_RANGE
    bitrate = parse_bitrate(text, field)
    if not lowest <= bitrate <= highest:
        raise InvalidValue(field, text, f"use {lowest // 1000}k to {highest // 1_000_000}M")
    return bitrate

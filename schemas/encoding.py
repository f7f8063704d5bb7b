"""How a rendition's pictures are encoded: a part of its spec, judged before anything is started."""

from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta

from schemas.errors import InvalidValue
from schemas.packets import VideoCodec
from schemas.units import parse_bitrate, parse_duration, parse_size

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
"""One scale for every encoder, x264's names: from the least work per picture to the best picture per bit."""
AudioSampleRate = Literal[0, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
RateControl = Literal["cbr", "vbr", "crf", "qp"]
Quality = Annotated[int, Meta(ge=0, le=63, description="of crf and qp; lower is better; 0-51 for h264 and hevc")]

BITRATE_RANGE: Final = (16_000, 400_000_000)  # below, x264 makes nothing; above, nobody's path carries it
# The quantizers each codec has, lowest (best) to highest; mjpeg's are those of libav's qscale.
QUALITY_RANGES: Final[dict[VideoCodec, tuple[int, int]]] = {
    "h264": (0, 51),
    "hevc": (0, 51),
    "av1": (1, 63),
    "vp8": (0, 63),
    "vp9": (0, 63),
    "mjpeg": (2, 31),
}
B_FRAME_CODECS: Final[tuple[VideoCodec, ...]] = ("h264", "hevc")
# What the software encoders have: SVT no vbr without delay; vp8's crf is a bound of its vbr only.
RATE_CONTROLS: Final[dict[VideoCodec, tuple[RateControl, ...]]] = {
    "h264": ("cbr", "vbr", "crf", "qp"),
    "hevc": ("cbr", "vbr", "crf", "qp"),
    "av1": ("cbr", "crf", "qp"),
    "vp8": ("cbr", "vbr"),
    "vp9": ("cbr", "vbr", "crf", "qp"),
    "mjpeg": ("cbr", "qp"),
}
# Of every stream as long as somebody wants them, named after their codec: for viewers who can take neither what they
# asked for nor `main`. The cheapest to encode first; H.264 for where `main` is something else.
CODEC_RENDITIONS: Final[tuple[VideoCodec, ...]] = ("h264", "vp8", "vp9", "av1", "hevc")


class Encoding(Protocol):
    """What is judged here; `RenditionSpec` has it."""

    @property
    def codec(self) -> VideoCodec: ...
    @property
    def bitrate(self) -> str: ...
    @property
    def rate_control(self) -> RateControl: ...
    @property
    def quality(self) -> int | None: ...
    @property
    def max_bitrate(self) -> str | None: ...
    @property
    def key_interval(self) -> str: ...
    @property
    def preset(self) -> Preset: ...
    @property
    def audio_bitrate(self) -> str: ...
    @property
    def size(self) -> str | None: ...
    @property
    def b_frames(self) -> int: ...
    @property
    def history(self) -> str | None: ...


def check_encoding(spec: Encoding, path: str = "") -> None:
    """Refuse what no encoder can do. `path`: where it stands, `streams.cam0.renditions.main.` in a file.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    _bitrate(spec.bitrate, f"{path}bitrate")
    parse_bitrate(spec.audio_bitrate, f"{path}audio_bitrate")
    parse_duration(spec.key_interval, f"{path}key_interval")
    if spec.size is not None:
        parse_size(spec.size, f"{path}size")
    if spec.history is not None:
        parse_duration(spec.history, f"{path}history")
    _check_rate(spec, path)
    if spec.b_frames and spec.codec not in B_FRAME_CODECS:
        raise InvalidValue(f"{path}b_frames", spec.b_frames, f"{spec.codec} has none; leave it out")
    if spec.codec == "mjpeg" and spec.preset != "ultrafast":
        raise InvalidValue(f"{path}preset", spec.preset, "mjpeg has no presets; leave it out")


def _check_rate(spec: Encoding, path: str) -> None:
    control, codec = spec.rate_control, spec.codec
    if control not in RATE_CONTROLS[codec]:
        raise InvalidValue(f"{path}rate_control", control, f"{codec} has {', '.join(RATE_CONTROLS[codec])}")
    lowest, highest = QUALITY_RANGES[codec]
    if control in ("crf", "qp"):
        if spec.quality is None or not lowest <= spec.quality <= highest:
            raise InvalidValue(f"{path}quality", spec.quality, f"{control} of {codec} needs {lowest} to {highest}")
    elif spec.quality is not None:
        raise InvalidValue(f"{path}quality", spec.quality, f"{control} goes by bitrate; leave it out")
    if spec.max_bitrate is None:
        return
    # SVT ignores a bound on crf, and libvpx overshot it by 70 % (measured).
    if control != "vbr" and not (control == "crf" and codec in ("h264", "hevc")):
        fix = f"bounds vbr, and crf of h264 and hevc; leave it out with {control} of {codec}"
        raise InvalidValue(f"{path}max_bitrate", spec.max_bitrate, fix)
    bound = _bitrate(spec.max_bitrate, f"{path}max_bitrate")
    if control == "vbr" and bound < parse_bitrate(spec.bitrate):
        raise InvalidValue(f"{path}max_bitrate", spec.max_bitrate, f"use {spec.bitrate} (the bitrate) or more")


def _bitrate(text: str, field: str) -> int:
    lowest, highest = BITRATE_RANGE
    bitrate = parse_bitrate(text, field)
    if not lowest <= bitrate <= highest:
        raise InvalidValue(field, text, f"use {lowest // 1000}k to {highest // 1_000_000}M")
    return bitrate

"""Encoder parameters as one string, as SOPHON's encoders take them: `width=1920:height=1080:gop=32:bitrate=2000`.

| key | range | becomes |
|---|---|---|
| `width`, `height` | 2 to 16384, even, both or neither | `size` |
| `framerate` | above 0, to 240 pictures/s; where `gop` needs it and neither it nor `fps` is given, 25 | `fps` |
| `gop` | 1 to 36000 pictures from one key picture to the next | `key_interval` |
| `gop_preset` | 1: key pictures only | `key_interval` |
| | 2, 3, 6, 7: pictures made from earlier ones only; 4, 5, 8: with 1, 3, 7 B-frames in a row | `b_frames` |
| `bitrate` | 16 to 400000 kbit/s; void beside `qp` | `bitrate` |
| `qp` | 0 to 51, the one quantizer | `rate_control` qp, `quality` |
| `preset` | `fast`, `medium`, `slow`, or 0, 1, 2 | `preset` ultrafast, veryfast, medium |

The presets 3, 6 and 7 differ from 2 in how many earlier pictures one is made from, which encoders decide here.
Keys that tune that hardware and nothing here (`min_qp`, `mb_rc`, `roi_enable`, …) are refused by name.
Source of the keys: SOPHGO's Multimedia User Guide, options of the hardware video encoder (`enc-params`).
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from schemas.encoding import BITRATE_RANGE, Preset
from schemas.errors import InvalidValue
from schemas.resources import RenditionSpec
from schemas.units import MAX_EDGE_PIXELS

DEFAULT_FRAMERATE: Final = 25.0
"""What those encoders take when `framerate` is not given."""
_MAX_FRAMERATE: Final = 240.0  # of `RenditionSpec.fps`
_MAX_GOP_PICTURES: Final = 36_000  # ten minutes of 60 pictures/s: nobody waits longer for a key picture
_MAX_QP: Final = 51  # of H.264 and H.265
_ALL_KEY: Final = 1
_ALL_KEY_INTERVAL: Final = "1ms"  # shorter than any picture lasts
_B_FRAMES: Final = {_ALL_KEY: 0, 2: 0, 3: 0, 4: 1, 5: 3, 6: 0, 7: 0, 8: 7}
_PRESETS: Final[dict[str, Preset]] = {
    "fast": "ultrafast", "medium": "veryfast", "slow": "medium", "0": "ultrafast", "1": "veryfast", "2": "medium",
}  # fmt: skip
_OF_THAT_HARDWARE: Final[dict[str, str]] = {
    "min_qp": "use qp, or rate_control crf of the rendition",
    "max_qp": "use qp, or rate_control crf of the rendition",
    "cqp": "use qp",
    "delta_qp": "leave it out",
    "mb_rc": "leave it out",
    "roi_enable": "regions of interest are not known here; leave it out",
    "bg": "leave it out",
    "nr": "leave it out",
    "enc_cmd_queue": "leave it out; queue of the rendition bounds what waits",
    "is_dma_buffer": "leave it out",
    "sophon_idx": "leave it out; the encoder is chosen by encoder of the rendition",
    "perf": "leave it out",
}


class EncoderParameters(Struct, frozen=True, kw_only=True):
    """What such a string says, as fields of a rendition; None: it says nothing of it."""

    width: int | None = None
    height: int | None = None
    framerate: float | None = None
    gop: int | None = None
    gop_preset: int | None = None
    bitrate_kbits: int | None = None
    qp: int | None = None
    preset: Preset | None = None

    def fields(self, fps: float | None = None) -> dict[str, Any]:
        """The fields of `RenditionSpec` that this sets; `fps` is that of the spec, for a `gop` without `framerate`."""
        found: dict[str, Any] = {}
        if self.width is not None:
            found["size"] = f"{self.width}x{self.height}"
        if self.framerate is not None:
            found["fps"] = self.framerate
        if self.gop is not None:
            # Half a picture less: the times of pictures are rounded, and those of cameras jitter.
            seconds = (self.gop - 0.5) / (self.framerate or fps or DEFAULT_FRAMERATE)
            found["key_interval"] = f"{seconds * 1000:.3f}ms"
        if self.gop_preset is not None:
            found["b_frames"] = _B_FRAMES[self.gop_preset]
            if self.gop_preset == _ALL_KEY:
                found["key_interval"] = _ALL_KEY_INTERVAL
        if self.qp is not None:
            found |= {"rate_control": "qp", "quality": self.qp}
        elif self.bitrate_kbits is not None:
            found["bitrate"] = f"{self.bitrate_kbits}k"
        if self.preset is not None:
            found["preset"] = self.preset
        return found


def parse_parameters(text: str, field: str = "parameters") -> EncoderParameters:
    """`width=1920:height=1080:gop=32` -> typed.

    Args:
        field: where the string stands; errors name `<field>.<key>`.

    Raises:
        InvalidValue: names the key, its value and the fix.
    """
    given: dict[str, str] = {}
    for part in text.split(":"):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise InvalidValue(field, part, "write key=value, joined by colons, for example width=1920:height=1080")
        name = f"{field}.{key}"
        if key in given:
            raise InvalidValue(name, value, f"it is {given[key]!r} already; write it once")
        if key in _OF_THAT_HARDWARE:
            raise InvalidValue(name, value, f"no encoder here has this; {_OF_THAT_HARDWARE[key]}")
        if key not in _READERS:
            raise InvalidValue(field, key, f"no such key; use {', '.join(_READERS)}")
        given[key] = value
    for one, other in (("width", "height"), ("height", "width")):
        if one in given and other not in given:
            raise InvalidValue(f"{field}.{one}", given[one], f"give {other} as well")
    read = {key: _READERS[key](value, f"{field}.{key}") for key, value in given.items()}
    if "bitrate" in read:
        read["bitrate_kbits"] = read.pop("bitrate")
    return EncoderParameters(**read)


def apply_parameters(spec: RenditionSpec, text: str, field: str = "parameters") -> dict[str, Any]:
    """The fields that `text` sets, where the typed ones say nothing else.

    Raises:
        InvalidValue: the string is wrong, or a typed field has another value than it.
    """
    if not text:
        return {}
    fields = parse_parameters(text, field).fields(spec.fps)
    defaults = RenditionSpec(stream=spec.stream)
    for name, value in fields.items():
        typed = getattr(spec, name)
        if typed not in (getattr(defaults, name), value):
            raise InvalidValue(name, typed, f"{field} say {value!r}; give one of the two")
    return fields


def _whole(lowest: int, highest: int, unit: str, *, even: bool = False) -> Callable[[str, str], int]:
    def read(text: str, field: str) -> int:
        fix = f"write a whole number from {lowest} to {highest}{unit}{', even' if even else ''}"
        # More digits than any of them has are refused unread: Python takes its time with millions of them.
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(highest)) else -1
        if not lowest <= number <= highest or (even and number % 2):
            raise InvalidValue(field, text, fix)
        return number

    return read


def _framerate(text: str, field: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= _MAX_FRAMERATE:  # also of nan
        raise InvalidValue(field, text, f"write pictures per second, above 0, to {_MAX_FRAMERATE:g}")
    return rate


def _preset(text: str, field: str) -> Preset:
    if text not in _PRESETS:
        raise InvalidValue(field, text, f"use {', '.join(_PRESETS)}")
    return _PRESETS[text]


_EDGE: Final = _whole(2, MAX_EDGE_PIXELS, " pixels", even=True)
_READERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "width": _EDGE,
    "height": _EDGE,
    "framerate": _framerate,
    "gop": _whole(1, _MAX_GOP_PICTURES, " pictures"),
    "gop_preset": _whole(1, len(_B_FRAMES), ""),
    "bitrate": _whole(BITRATE_RANGE[0] // 1000, BITRATE_RANGE[1] // 1000, " kbit/s"),
    "qp": _whole(0, _MAX_QP, ""),
    "preset": _preset,
}

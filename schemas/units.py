"""Numbers as people write them: `4M`, `2s`, `1280x720`."""

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Final

from msgspec import Meta

from schemas.errors import InvalidValue

# As many digits as anybody means: a float of hundreds of them is infinite.
_NUMBER = r"^(\d{1,18}(?:\.\d{1,18})?)"
_BITRATE = re.compile(_NUMBER + r"([kKmM]?)$")
_DURATION = re.compile(_NUMBER + r"(ms|s|m|h|d)$")
_BYTES = re.compile(_NUMBER + r"([kKmMgGtT]?)$")
_SIZE = re.compile(r"^(\d{1,5})x(\d{1,5})$")
_CROP = re.compile(r"^(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})$")
_BINNING = re.compile(r"^([1-8])x([1-8])$")
_BITRATE_FACTOR = {"": 1, "k": 1_000, "K": 1_000, "m": 1_000_000, "M": 1_000_000}
_BYTES_FACTOR = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_DURATION_FACTOR = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
MAX_EDGE_PIXELS = 16_384
_MAX_DURATION_SECONDS = 36_500 * 86_400.0  # a century: in nanoseconds, added to today, it still is a number of 64 bits
_MAX_BITRATE_BPS = 1_000_000_000_000  # nothing here is a thousandth of it
_MAX_BYTES = (1 << 63) - 1  # as file systems count
NS_PER_SECOND: Final = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

BitrateText = Annotated[str, Meta(description="bit/s, with k or M", examples=["4M"])]
DurationText = Annotated[str, Meta(description="a number and ms, s, m, h or d", examples=["2s"])]
BytesText = Annotated[str, Meta(description="bytes, with k, M, G or T (powers of 1000)", examples=["500M"])]
TimeText = Annotated[
    str,
    Meta(
        description="RFC 3339 with its zone, or now, -DURATION or +DURATION from now",
        examples=["-10s", "2026-05-04T10:00:00Z"],
    ),
]
SizeText = Annotated[str, Meta(description="WIDTHxHEIGHT in pixels", examples=["1280x720"])]
CropText = Annotated[str, Meta(description="WIDTHxHEIGHT+X+Y in pixels", examples=["640x480+320+120"])]
BinningText = Annotated[str, Meta(description="HORIZONTALxVERTICAL, 1 to 8 sensor pixels each", examples=["2x2"])]


def parse_bitrate(text: str, field: str = "bitrate") -> int:
    """`4M` -> 4000000 bit/s.

    Raises:
        InvalidValue: not a bitrate, zero, or beyond every line's.
    """
    match = _BITRATE.match(text)
    value = int(float(match[1]) * _BITRATE_FACTOR[match[2]]) if match else 0
    if not 0 < value <= _MAX_BITRATE_BPS:
        raise InvalidValue(field, text, "write bit/s with k or M, for example 4M or 800k")
    return value


def parse_duration(text: str, field: str = "duration") -> float:
    """`2s` -> 2.0 seconds.

    Raises:
        InvalidValue: not a duration, or longer than a century.
    """
    match = _DURATION.match(text)
    seconds = float(match[1]) * _DURATION_FACTOR[match[2]] if match else math.inf
    if seconds > _MAX_DURATION_SECONDS:
        raise InvalidValue(field, text, "write a number and ms, s, m, h or d, at most 36500d, for example 2s")
    return seconds


def parse_bytes(text: str, field: str) -> int:
    """`500M` -> 500000000 bytes.

    Raises:
        InvalidValue: not a number of bytes, zero, or more than a file can have.
    """
    match = _BYTES.match(text)
    value = int(float(match[1]) * _BYTES_FACTOR[match[2].lower()]) if match else 0
    if not 0 < value <= _MAX_BYTES:
        raise InvalidValue(field, text, "write bytes with k, M, G or T, for example 500M")
    return value


def parse_time(text: str, field: str, now_ns: int) -> int:
    """`-10s` -> CLOCK_REALTIME of ten seconds before `now_ns`, in nanoseconds.

    Raises:
        InvalidValue: not a time, or one without its zone.
    """
    if text == "now":
        return now_ns
    fix = "write now, -10s, +5s, or a time with its zone, for example 2026-05-04T10:00:00Z"
    if text[:1] in ("-", "+"):
        try:
            offset_ns = round(parse_duration(text[1:], field) * NS_PER_SECOND)
        except InvalidValue:
            raise InvalidValue(field, text, fix) from None
        return now_ns - offset_ns if text[0] == "-" else now_ns + offset_ns
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValue(field, text, fix) from None
    if moment.tzinfo is None:
        raise InvalidValue(field, text, fix)
    elapsed = moment - _EPOCH  # in integers: a float of seconds would be off by hundreds of nanoseconds
    return ((elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds) * 1_000


def parse_size(text: str, field: str = "size") -> tuple[int, int]:
    """`1280x720` -> (1280, 720) pixels. Both are even, as 4:2:0 pictures need.

    Raises:
        InvalidValue: not a size, odd, or out of range.
    """
    match = _SIZE.match(text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (2 <= width <= MAX_EDGE_PIXELS and 2 <= height <= MAX_EDGE_PIXELS) or width % 2 or height % 2:
        raise InvalidValue(field, text, f"write WIDTHxHEIGHT, even, 2 to {MAX_EDGE_PIXELS}, for example 1280x720")
    return width, height


def parse_crop(text: str, field: str = "crop") -> tuple[int, int, int, int]:
    """`640x480+320+120` -> (640, 480, 320, 120): width, height, left, top in pixels, all even as 4:2:0 needs.

    Raises:
        InvalidValue: not such an area, odd, empty or out of range.
    """
    match = _CROP.match(text)
    width, height, left, top = (int(part) for part in match.groups()) if match else (0, 0, 0, 0)
    if width < 2 or height < 2 or left + width > MAX_EDGE_PIXELS or top + height > MAX_EDGE_PIXELS:
        raise InvalidValue(field, text, "write WIDTHxHEIGHT+X+Y in pixels, for example 640x480+320+120")
    if any(number % 2 for number in (width, height, left, top)):
        raise InvalidValue(field, text, "use even numbers")
    return width, height, left, top


def parse_binning(text: str, field: str = "binning") -> tuple[int, int]:
    """`2x2` -> (2, 2): horizontal and vertical sensor pixels that become one.

    Raises:
        InvalidValue: not such a pair.
    """
    match = _BINNING.match(text)
    if not match:
        raise InvalidValue(field, text, "write HORIZONTALxVERTICAL, 1 to 8 each, for example 2x2")
    return int(match[1]), int(match[2])

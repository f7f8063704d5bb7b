"""H.264 and H.265 access units in Annex B: find NAL units, key pictures and parameter sets.

Everything here takes bytes from the network: broken input raises BadRequest and nothing else.
Sources: ITU-T H.264 (7.3.1, 7.4.1), ITU-T H.265 (7.3.1), ISO/IEC 14496-15 (5.3.3.1 avcC, 8.3.3.1 hvcC).
"""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.errors import BadRequest
from schemas.packets import NalCodec

START_CODE = b"\x00\x00\x00\x01"
_SHORT_START_CODE = b"\x00\x00\x01"

H264_SLICE, H264_IDR, H264_SPS, H264_PPS, H264_AUD = 1, 5, 7, 8, 9
HEVC_BLA_FIRST, HEVC_CRA = 16, 21
HEVC_VPS, HEVC_SPS, HEVC_PPS, HEVC_AUD = 32, 33, 34, 35
_HEVC_FIRST_NON_PICTURE = 32  # types 0-31 are slices
_H264_PARAMETER_SETS = frozenset((H264_SPS, H264_PPS))
_HEVC_PARAMETER_SETS = frozenset((HEVC_VPS, HEVC_SPS, HEVC_PPS))

_AVCC_HEADER_BYTES = 6  # up to and with numOfSequenceParameterSets
_HVCC_HEADER_BYTES = 23  # up to and with numOfArrays


class Nal(NamedTuple):
    """One NAL unit: its type and where it is in the access unit, without start code and trailing zeros."""

    type: int
    start: int
    end: int


def nal_units(access_unit: bytes, codec: NalCodec) -> Iterator[Nal]:
    """The NAL units of an Annex B access unit, in order; nothing when there is no start code.

    Lazy: what comes after the unit that the caller stops at is not looked at.
    """
    find = access_unit.find
    hevc = codec == "hevc"
    start = find(_SHORT_START_CODE) + 3
    length = len(access_unit)
    while 3 <= start < length:
        header = access_unit[start]
        kind = header >> 1 & 0x3F if hevc else header & 0x1F
        following = find(_SHORT_START_CODE, start)
        end = length if following < 0 else following
        if end > start and access_unit[end - 1] == 0:  # zero_byte of a long start code, trailing_zero_8bits
            end = start + len(access_unit[start:end].rstrip(b"\x00"))
        if end > start:
            yield Nal(kind, start, end)
        if following < 0:
            return
        start = following + 3


def is_annexb(data: bytes) -> bool:
    """Whether the data starts with a start code, as Annex B does.

    A length prefix of 256-511 looks like a short start code; it is told apart by lengths that fit to the end.
    Where there is extradata, that says it for certain.
    """
    if data[:4] == START_CODE:
        return True  # as a length this is a NAL unit of one byte, with which no access unit starts
    return data[:3] == _SHORT_START_CODE and not _lengths_fit(data)


def _lengths_fit(data: bytes) -> bool:
    position = 0
    while position + 4 <= len(data):
        position += 4 + int.from_bytes(data[position : position + 4], "big")
    return position == len(data)


def is_picture(kind: int, codec: NalCodec) -> bool:
    """Whether a NAL unit of this type is a slice of a picture."""
    return kind < _HEVC_FIRST_NON_PICTURE if codec == "hevc" else H264_SLICE <= kind <= H264_IDR


def is_key(access_unit: bytes, codec: NalCodec) -> bool:
    """Whether decoding can start here: an IDR picture, in H.265 also CRA and BLA.

    Looks only at the units up to the first slice.
    """
    kind = _first_picture(access_unit, codec)
    if codec == "hevc":
        return HEVC_BLA_FIRST <= kind <= HEVC_CRA
    return kind == H264_IDR


def parameter_sets(data: bytes, codec: NalCodec) -> bytes:
    """The parameter sets of an access unit or of Annex B extradata as Annex B; empty when there are none."""
    wanted = _wanted(codec)
    return b"".join(START_CODE + data[nal.start : nal.end] for nal in nal_units(data, codec) if nal.type in wanted)


def ensure_parameter_sets(access_unit: bytes, extradata: bytes, key: bool, codec: NalCodec = "h264") -> bytes:
    """The access unit with its parameter sets in band: unchanged unless it is a key picture that lacks some.

    `extradata` is Annex B. The sets go first, but after an access unit delimiter.
    """
    if not key or not extradata:
        return access_unit
    # Only what is before the first slice: the slices are most of the bytes and need no look.
    head = list(nal_units(access_unit[: _first_picture_start(access_unit, codec)], codec))
    if _wanted(codec) <= {nal.type for nal in head}:
        return access_unit
    delimiter = HEVC_AUD if codec == "hevc" else H264_AUD
    at = head[0].end if head and head[0].type == delimiter else 0
    return b"".join((access_unit[:at], extradata, access_unit[at:]))


def avcc_to_annexb(payload: bytes, nal_length_bytes: int = 4) -> bytes:
    """A length-prefixed access unit (MP4, FLV) with start codes instead.

    Raises:
        BadRequest: a length points beyond the payload, or `nal_length_bytes` is not 1-4.
    """
    if not 1 <= nal_length_bytes <= 4:
        raise BadRequest(f"NAL length of {nal_length_bytes} bytes: only 1 to 4 exist")
    parts: list[bytes | memoryview] = []
    view = memoryview(payload)
    position, length = 0, len(payload)
    while position < length:
        start = position + nal_length_bytes
        end = start + int.from_bytes(view[position:start], "big")
        if start > length or end > length:
            raise BadRequest(f"NAL unit at byte {position} ends at {end}, beyond its access unit of {length} bytes")
        if end > start:
            parts.append(START_CODE)
            parts.append(view[start:end])
        position = end
    return b"".join(parts)


def nal_length_bytes(configuration: bytes, codec: NalCodec) -> int:
    """Bytes of the length prefix, from an avcC or hvcC record.

    Raises:
        BadRequest: the record is cut short.
    """
    at = 21 if codec == "hevc" else 4
    if len(configuration) <= at:
        raise BadRequest(f"{codec} configuration of {len(configuration)} bytes is cut short")
    return (configuration[at] & 0x03) + 1


def extradata_to_annexb(extradata: bytes, codec: NalCodec) -> bytes:
    """The parameter sets of any extradata (avcC, hvcC or Annex B already) as Annex B; empty stays empty.

    Raises:
        BadRequest: the record is cut short.
    """
    if not extradata:
        return b""
    if is_annexb(extradata):
        return parameter_sets(extradata, codec)
    if codec == "hevc":
        return b"".join(START_CODE + unit for unit in _hvcc_units(extradata))
    return b"".join(START_CODE + unit for unit in _avcc_units(extradata))


def _avcc_units(record: bytes) -> Iterator[bytes]:
    if len(record) < _AVCC_HEADER_BYTES:
        raise BadRequest(f"avcC of {len(record)} bytes is cut short")
    position = _AVCC_HEADER_BYTES
    for _ in range(record[5] & 0x1F):
        unit, position = _sized_unit(record, position, "avcC")
        yield unit
    if position >= len(record):
        raise BadRequest(f"avcC of {len(record)} bytes is cut short")
    pictures = record[position]
    position += 1
    for _ in range(pictures):
        unit, position = _sized_unit(record, position, "avcC")
        yield unit


def _hvcc_units(record: bytes) -> Iterator[bytes]:
    if len(record) < _HVCC_HEADER_BYTES:
        raise BadRequest(f"hvcC of {len(record)} bytes is cut short")
    position = _HVCC_HEADER_BYTES
    for _ in range(record[22]):
        if position + 3 > len(record):
            raise BadRequest(f"hvcC of {len(record)} bytes is cut short")
        kind = record[position] & 0x3F
        count = int.from_bytes(record[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            unit, position = _sized_unit(record, position, "hvcC")
            if kind in _HEVC_PARAMETER_SETS:  # SEI arrays are of no use in band
                yield unit


def _sized_unit(record: bytes, position: int, name: str) -> tuple[bytes, int]:
    start = position + 2
    end = start + int.from_bytes(record[position:start], "big")
    if start > len(record) or end > len(record):
        raise BadRequest(f"{name} of {len(record)} bytes is cut short")
    return record[start:end], end


def _first_picture(access_unit: bytes, codec: NalCodec) -> int:
    """Type of the first slice; -1 when there is none."""
    start = _first_picture_start(access_unit, codec)
    if start >= len(access_unit):
        return -1
    header = access_unit[start + 3]
    return header >> 1 & 0x3F if codec == "hevc" else header & 0x1F


def _first_picture_start(access_unit: bytes, codec: NalCodec) -> int:
    """Index of the (short) start code of the first slice; the length when there is none."""
    length = len(access_unit)
    at = access_unit.find(_SHORT_START_CODE)
    while 0 <= at < length - 3:
        header = access_unit[at + 3]
        if is_picture(header >> 1 & 0x3F if codec == "hevc" else header & 0x1F, codec):
            return at
        at = access_unit.find(_SHORT_START_CODE, at + 3)
    return length


def _wanted(codec: NalCodec) -> frozenset[int]:
    return _HEVC_PARAMETER_SETS if codec == "hevc" else _H264_PARAMETER_SETS

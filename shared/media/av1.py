"""AV1 temporal units: find the sequence header, which containers want before the first picture.

Source: AV1 Bitstream & Decoding Process Specification, 5.3.1 to 5.3.3 (OBU syntax) and 4.10.5 (leb128).
"""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.errors import BadRequest

_SEQUENCE_HEADER = 1
_LEB128_BYTES = 8  # at most


class Obu(NamedTuple):
    """One OBU of a temporal unit: its type, where it and its payload begin, bytes of its size field, its end."""

    type: int
    start: int
    payload: int
    size_bytes: int
    end: int


def obus(temporal_unit: bytes) -> Iterator[Obu]:
    """The OBUs of a temporal unit in the low-overhead format, in order.

    Raises:
        BadRequest: an OBU is cut short or has no size.
    """
    position, length = 0, len(temporal_unit)
    while position < length:
        header = temporal_unit[position]
        if not header & 0x02:
            raise BadRequest(f"OBU at byte {position} has no size")
        size_at = position + (2 if header & 0x04 else 1)
        size, payload = read_leb128(temporal_unit, size_at)
        if payload + size > length:
            raise BadRequest(f"OBU at byte {position} is cut short")
        yield Obu(header >> 3 & 0x0F, position, payload, payload - size_at, payload + size)
        position = payload + size


def sequence_header(temporal_unit: bytes) -> bytes:
    """The sequence header OBU with its size field, as in the low-overhead format; empty when there is none.

    Raises:
        BadRequest: an OBU before it is cut short or has no size.
    """
    for obu in obus(temporal_unit):
        if obu.type == _SEQUENCE_HEADER:
            return temporal_unit[obu.start : obu.end]
    return b""


def read_leb128(data: bytes, position: int) -> tuple[int, int]:
    """The value at `position`, and where what follows it begins.

    Raises: BadRequest: it is cut short.
    """
    value = 0
    for index, byte in enumerate(data[position : position + _LEB128_BYTES]):
        value |= (byte & 0x7F) << index * 7
        if not byte & 0x80:
            return value, position + index + 1
    raise BadRequest(f"AV1 length at byte {position} is cut short")

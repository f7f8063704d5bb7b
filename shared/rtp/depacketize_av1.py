"""AV1 out of RTP: elements of packets become OBUs with their sizes (RTP Payload Format For AV1, version 1.0).

Everything here takes bytes from the network: broken input raises BadRequest and nothing else.
"""

from collections.abc import Iterator, Sequence

from schemas.errors import BadRequest
from shared.media.av1 import read_leb128
from shared.rtp.av1 import LEFT_OUT

_CONTINUES, _GOES_ON, _COUNT_SHIFT = 0x80, 0x40, 4  # Z, Y, W
_HAS_SIZE, _HAS_EXTENSION = 0x02, 0x04
_MAX_OBUS = 4096  # a tile group of each tile of level 6.3, eight times; a million would hold the process up


def depacketize_av1(payloads: Sequence[bytes]) -> bytes:
    """The temporal unit of payloads without a gap, in the low-overhead format.

    Raises:
        BadRequest: a payload is cut short, or an OBU has no beginning or no end.
    """
    obus: list[bytes] = []
    open_obu: list[bytes] = []  # pieces of an OBU that goes on: joined once, for it may have thousands
    for payload in payloads:
        if len(payload) < 2:
            raise BadRequest("AV1 payload cut short")
        elements = list(_elements(payload))
        if bool(payload[0] & _CONTINUES) != bool(open_obu):
            raise BadRequest("AV1 fragment out of its order")
        if open_obu and (len(elements) > 1 or not payload[0] & _GOES_ON):  # this one has its end
            elements[0] = b"".join((*open_obu, elements[0]))
            open_obu = []
        if payload[0] & _GOES_ON:
            open_obu.append(elements.pop())
        obus += elements
        if len(obus) > _MAX_OBUS:
            raise BadRequest(f"temporal unit of more than {_MAX_OBUS} OBUs")
    if open_obu:
        raise BadRequest("AV1 fragment without its end")
    unit = b"".join(map(_with_size, obus))
    if not unit:
        raise BadRequest("temporal unit without an OBU")
    return unit


def _elements(payload: bytes) -> Iterator[bytes]:
    count, at, number = payload[0] >> _COUNT_SHIFT & 0x03, 1, 0
    while at < len(payload):
        number += 1
        if number == count:  # the last one of a counted packet has no length
            size = len(payload) - at
        else:
            size, at = read_leb128(payload, at)
        if not size or at + size > len(payload):
            raise BadRequest("AV1 element cut short")
        yield payload[at : at + size]
        at += size
    if not number or (count and number != count):
        raise BadRequest(f"AV1 payload of {number} elements that says {count}")


def _with_size(obu: bytes) -> bytes:
    header_bytes = 2 if obu[0] & _HAS_EXTENSION else 1
    if len(obu) < header_bytes:
        raise BadRequest("OBU cut short")
    if obu[0] >> 3 & 0x0F in LEFT_OUT:
        return b""
    if obu[0] & _HAS_SIZE:
        size, payload = read_leb128(obu, header_bytes)
        if payload + size > len(obu):
            raise BadRequest("OBU cut short")
        return obu[: payload + size]
    header = bytes((obu[0] | _HAS_SIZE,)) + obu[1:header_bytes]
    return header + _as_leb128(len(obu) - header_bytes) + obu[header_bytes:]


def _as_leb128(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

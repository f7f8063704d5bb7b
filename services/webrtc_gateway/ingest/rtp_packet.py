"""An RTP packet as it comes in (RFC 3550 section 5.1, RFC 8285)."""

from dataclasses import dataclass
from struct import Struct

_HEADER = Struct("!BBHII")
_VERSION, _PADDING, _EXTENSION, _CSRC_COUNT = 0x80, 0x20, 0x10, 0x0F
_ONE_BYTE_PROFILE, _TWO_BYTE_PROFILE, _TWO_BYTE_MASK = 0xBEDE, 0x1000, 0xFFF0
_LAST_ID = 15  # of one-byte headers: stop here


@dataclass(slots=True)
class RtpPacket:
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    """Without padding; empty where there is nothing but that, as in a probe."""
    extensions: dict[int, bytes]
    """Header extensions by their id."""
    arrived_ns: int = 0
    """CLOCK_REALTIME."""


def parse_rtp(data: bytes) -> RtpPacket:
    """Raises:
    ValueError: not RTP of version 2, or cut short.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"RTP packet of {len(data)} bytes")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first & 0xC0 != _VERSION:
        raise ValueError("RTP packet of another version")
    at, end = _HEADER.size + 4 * (first & _CSRC_COUNT), len(data)
    extensions: dict[int, bytes] = {}
    if first & _EXTENSION:
        if end < at + 4:
            raise ValueError("RTP header extension cut short")
        profile, words = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
        extensions = _extensions(profile, data[at : at + 4 * words])
        at += 4 * words
    if first & _PADDING:
        padding = data[-1]
        if not padding:
            raise ValueError("RTP padding of no length")
        end -= padding
    if at > end:
        raise ValueError("RTP packet cut short")
    return RtpPacket(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, data[at:end], extensions)


def _extensions(profile: int, block: bytes) -> dict[int, bytes]:
    """The elements; what is cut short at the end is left out, as RFC 8285 section 4.1.2 wants unknown things."""
    one_byte = profile == _ONE_BYTE_PROFILE
    if not one_byte and profile & _TWO_BYTE_MASK != _TWO_BYTE_PROFILE:
        return {}
    found, at = {}, 0
    while at < len(block):
        header = block[at]
        at += 1
        if not header:  # padding
            continue
        if one_byte:
            number, size = header >> 4, (header & 0x0F) + 1
            if number == _LAST_ID:
                break
        else:
            if at >= len(block):
                break
            number, size = header, block[at]
            at += 1
        if at + size > len(block):
            break
        found[number] = block[at : at + size]
        at += size
    return found

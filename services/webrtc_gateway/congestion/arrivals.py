"""Transport-wide feedback: which packets have come, and when (draft-holmer-rmcat-transport-wide-cc-extensions-01)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

_HEADER = struct.Struct("!HHI")  # first number, how many, reference time (24 bits) and a count of feedbacks (8)
REFERENCES = 1 << 24
TICK_US = 250
REFERENCE_TICKS = 256  # 64 ms
_SMALL, _LARGE, _RESERVED = 1, 2, 3  # what a packet's symbol says of its time; 0: it has not come
_MAX_PACKETS = 4096  # of one feedback: more than a second's
_CHUNK_BYTES = 2


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One feedback."""

    first: int
    """Number of the first packet it is about, 16 bits."""
    symbols: bytes
    """Of that packet and of those behind it: 0 has not come."""
    reference: int
    """Time it counts from, in 64 ms, 24 bits, on the other end's clock."""
    ticks: Sequence[int]
    """When each packet came that did, since `reference`, in 250 us."""


def read_arrivals(information: bytes) -> Arrivals:
    """Read the feedback control information of one message.

    Raises:
        ValueError, struct.error: malformed, or about more packets than are remembered.
    """
    first, count, time = _HEADER.unpack_from(information)
    if not 0 < count <= _MAX_PACKETS:
        raise ValueError(f"feedback on {count} packets; 1 to {_MAX_PACKETS} are read")
    parts: list[bytes] = []
    known, at = 0, _HEADER.size
    while known < count:
        chunk = int.from_bytes(information[at : at + _CHUNK_BYTES], "big")
        if at + _CHUNK_BYTES > len(information):
            raise ValueError("feedback ends within its chunks")
        part = _symbols(chunk) if chunk & 0x8000 else bytes((chunk >> 13,)) * (chunk & 0x1FFF)
        parts.append(part)
        known += len(part)
        at += _CHUNK_BYTES
    symbols = b"".join(parts)[:count]
    small, large = symbols.count(_SMALL), symbols.count(_LARGE)
    if symbols.count(_RESERVED) or len(information) - at < small + 2 * large:
        raise ValueError("feedback lacks the times of packets that it says have come")
    deltas = _mixed(symbols, information, at) if large else information[at : at + small]
    return Arrivals(first, symbols, time >> 8, tuple(accumulate(deltas)))


@lru_cache(1 << 12)  # half of all there are; most are alike
def _symbols(chunk: int) -> bytes:
    """A status vector chunk: 14 symbols of one bit, or 7 of two."""
    if chunk & 0x4000:
        return bytes(chunk >> shift & 3 for shift in range(12, -1, -2))
    return bytes(chunk >> shift & 1 for shift in range(13, -1, -1))


def _mixed(symbols: bytes, information: bytes, at: int) -> list[int]:
    deltas = []
    for symbol in symbols:
        if symbol:
            deltas.append(int.from_bytes(information[at : at + symbol], "big", signed=symbol == _LARGE))
            at += symbol
    return deltas

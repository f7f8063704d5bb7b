"""Transport-wide feedback: which packets have come, and when (draft-holmer-rmcat-transport-wide-cc-extensions-01)."""

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("!HHI")  # first number, how many, reference time (24 bits) and a count of feedbacks (8)
_REFERENCE_TICK_US = 64_000
REFERENCE_TICKS = 1 << 24
_DELTA_TICK_US = 250
_SMALL, _LARGE, _RESERVED = 1, 2, 3  # what a packet's symbol says of its time; 0: it has not come
_MAX_PACKETS = 4096  # of one feedback: more than a second's
_CHUNK_BYTES = 2


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One feedback."""

    first: int
    """Number of the first packet it is about, 16 bits."""
    received: NDArray[np.bool_]
    """Of that packet and of those behind it."""
    reference: int
    """Time it counts from, in 64 ms, 24 bits, on the other end's clock."""
    times_us: NDArray[np.int64]
    """Of each packet that was received, since `reference`."""


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
    if large:
        deltas = np.array(_mixed(symbols, information, at), np.int64)
    else:
        deltas = np.frombuffer(information, np.uint8, small, at).astype(np.int64)
    return Arrivals(
        first, np.frombuffer(symbols, np.uint8) > 0, time >> 8, np.cumsum(deltas * _DELTA_TICK_US, dtype=np.int64)
    )


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

"""Which SCTP packets of a peer may be looked into (RFC 9260 section 3).

aiortc parses for well-meaning peers: a parameter of length zero keeps it in a loop for ever, a selective
acknowledgement of things never sent costs it millions of steps, and nothing bounds what it keeps. So what a hostile
page could send is refused here, before it is parsed.
"""

from dataclasses import dataclass
from struct import unpack_from
from typing import Literal

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR = range(10)
COOKIE_ECHO, COOKIE_ACK = 10, 11
RECONFIG, FORWARD_TSN = 130, 192

MAX_STREAMS = 1024
"""Stream numbers that we tell peers of, and take: browsers count up from 0."""
WINDOW_CHUNKS = 512
"""How far ahead of the first missing chunk one may be; a peer that sends 1,160-byte chunks fills our window so."""

_COMMON_HEADER_BYTES = 12
_CHUNK_HEADER_BYTES = 4
_INIT_BYTES = 20  # chunk header included, parameters not
_DATA_BYTES = 16
_SACK_BYTES = 16
_TSN_MODULO = 2**32
_WITH_PARAMETERS = frozenset((HEARTBEAT, HEARTBEAT_ACK, ABORT, ERROR, RECONFIG))

Refusal = Literal["", "malformed", "out_of_window", "not_now"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the association knows of its peer."""

    established: bool
    last_received_tsn: int | None
    """Of the peer's chunks in order; None before its INIT or INIT ACK."""
    next_tsn: int
    """Of our own chunks."""


def refuse(packet: bytes, expected: Expected) -> Refusal:
    """Why the packet must not be parsed; empty when it may."""
    size = len(packet)
    if size < _COMMON_HEADER_BYTES + _CHUNK_HEADER_BYTES:
        return "malformed"
    position = _COMMON_HEADER_BYTES
    chunks = 0
    while position <= size - _CHUNK_HEADER_BYTES:
        kind, _, length = unpack_from("!BBH", packet, position)
        if length < _CHUNK_HEADER_BYTES or position + length > size:
            return "malformed"
        chunks += 1
        why = _refuse_chunk(kind, packet[position : position + length], expected)
        if why:
            return why
        if kind in (INIT, INIT_ACK) and (chunks > 1 or position + length + 3 < size):
            return "malformed"  # RFC 9260 section 6.10: never bundled
        position += (length + 3) & ~3
    return ""


def _refuse_chunk(kind: int, chunk: bytes, expected: Expected) -> Refusal:
    size = len(chunk)
    if kind in (INIT, INIT_ACK):
        if size < _INIT_BYTES or unpack_from("!L", chunk, 4)[0] == 0 or not _parameters_end(chunk, _INIT_BYTES):
            return "malformed"
        # A late copy: it would set the numbering of a running association back.
        return "not_now" if kind == INIT and expected.established else ""
    if kind in _WITH_PARAMETERS:
        return "" if _parameters_end(chunk, _CHUNK_HEADER_BYTES) else "malformed"
    if kind == DATA:
        return _refuse_data(chunk, expected)
    if kind == SACK:
        return _refuse_sack(chunk, expected)
    if kind == FORWARD_TSN:
        return _refuse_forward_tsn(chunk, expected)
    if kind == SHUTDOWN:
        return "" if size == 8 else "malformed"
    return ""


def _refuse_data(chunk: bytes, expected: Expected) -> Refusal:
    if len(chunk) <= _DATA_BYTES:
        return "malformed"  # RFC 9260 section 3.3.1: a chunk has data
    tsn, stream = unpack_from("!LH", chunk, 4)
    if expected.last_received_tsn is None:
        return "not_now"
    if stream >= MAX_STREAMS:
        return "malformed"
    ahead = (tsn - expected.last_received_tsn) % _TSN_MODULO
    # More than half the circle ahead is behind: a copy, which is acknowledged once more.
    return "out_of_window" if WINDOW_CHUNKS < ahead < _TSN_MODULO // 2 else ""


def _refuse_sack(chunk: bytes, expected: Expected) -> Refusal:
    if len(chunk) < _SACK_BYTES:
        return "malformed"
    if expected.last_received_tsn is None:
        return "not_now"
    cumulative, _, gaps, duplicates = unpack_from("!LLHH", chunk, 4)
    if len(chunk) != _SACK_BYTES + 4 * (gaps + duplicates):
        return "malformed"
    outstanding = (expected.next_tsn - 1 - cumulative) % _TSN_MODULO
    if outstanding >= _TSN_MODULO // 2:
        return "out_of_window"  # acknowledges what was never sent
    past = 0
    for index in range(gaps):
        start, end = unpack_from("!HH", chunk, _SACK_BYTES + 4 * index)
        if not past < start <= end:
            return "malformed"
        if end > outstanding:
            return "out_of_window"
        past = end
    return ""


def _refuse_forward_tsn(chunk: bytes, expected: Expected) -> Refusal:
    if len(chunk) < 8 or len(chunk) % 4:
        return "malformed"
    if expected.last_received_tsn is None:
        return "not_now"
    if any(unpack_from("!H", chunk, position)[0] >= MAX_STREAMS for position in range(8, len(chunk), 4)):
        return "malformed"
    ahead = (unpack_from("!L", chunk, 4)[0] - expected.last_received_tsn) % _TSN_MODULO
    return "out_of_window" if WINDOW_CHUNKS < ahead < _TSN_MODULO // 2 else ""


def _parameters_end(chunk: bytes, position: int) -> bool:
    """Whether the parameters from `position` fill the chunk, each at least as long as its header."""
    while position <= len(chunk) - _CHUNK_HEADER_BYTES:
        length: int = unpack_from("!H", chunk, position + 2)[0]
        if length < _CHUNK_HEADER_BYTES or position + length > len(chunk):
            return False
        position += (length + 3) & ~3
    return True

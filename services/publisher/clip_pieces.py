"""Where a clip's packets come from: recorded files, the packet ring, and what was set aside while waiting for its end.

Each piece gives packets in decoding order, as a producer made them, with times of its own clock: `clip_cut` brings
those of several pieces together by run and index.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from schemas.packets import PacketHeader
from services.publisher.catalogue import Entry
from services.publisher.catch_up import Packet, unbroken_from
from services.publisher.file_packets import FilePackets
from services.publisher.packet_file import read_spool
from shared.packet_ring import PacketRingReader
from shared.recording_index import DEMUXERS, KEY, BadIndex, index_path, read_index
from shared.ring import RingError

_log = logging.getLogger(__name__)

# What belongs to a clip may lie so far behind its end: sound, and pictures that are decoded in another order.
BEHIND_NS: Final = 1_000_000_000


class Piece(NamedTuple):
    """Packets that can be had from `start_ns` to `end_ns`, CLOCK_REALTIME."""

    start_ns: int
    end_ns: int
    packets: Iterable[Packet]
    sound: Literal["aac", "opus"] | None = None
    """The one to take of what it has."""


def file_piece(entry: Entry, start_ns: int) -> Piece | None:
    """A recorded file, from the key picture at or before `start_ns` on; None when it has none, or is gone; blocks."""
    try:
        header, records = read_index(index_path(entry.path))
    except (OSError, BadIndex) as error:
        _log.info("clip without %s: %s", entry.path, error)
        return None
    keys = np.flatnonzero(records["flags"] & KEY)
    if not len(keys) or header.format not in DEMUXERS:
        return None
    early = keys[records["captured_ns"][keys] <= start_ns]
    first = int(early[-1] if len(early) else keys[0])
    return Piece(
        int(records["captured_ns"][first]),
        entry.summary.end_ns,
        unbroken_from(FilePackets(entry, records, first), start_ns),
        _sound_of(header.tracks),
    )


def ring_piece(folder: Path, stream: str, rendition: str, start_ns: int, end_ns: int) -> Piece | None:
    """What the packet ring has from the key picture at or before `start_ns` on to what `end_ns` needs; None when there
    is nothing; blocks."""
    try:
        with PacketRingReader.open_latest(folder, stream, rendition) as ring:
            # Read at once: by the time the files before it are written the ring would have moved on.
            packets = list(_until(end_ns + BEHIND_NS, unbroken_from(ring.since_capture(start_ns), start_ns)))
    except (RingError, LookupError):
        return None
    return _of([header for header, _ in packets], packets)


def spool_piece(path: Path, start_ns: int) -> Piece | None:
    """What was set aside; None when there is nothing; blocks."""
    return _of([header for header, _, _ in read_spool(path)], unbroken_from(_payloads(read_spool(path)), start_ns))


def _until(end_ns: int, packets: Iterable[Packet]) -> Iterator[Packet]:
    """As far as the first picture that was captured later: the ring may reach hundreds of megabytes further."""
    for header, payload in packets:
        yield header, payload
        if header.track == "video" and header.captured_ns > end_ns:
            return


def _payloads(packets: Iterable[tuple[PacketHeader, memoryview, int]]) -> Iterator[Packet]:
    for header, payload, _ in packets:
        yield header, bytes(payload)


def _of(headers: list[PacketHeader], packets: Iterable[Packet]) -> Piece | None:
    pictures = [header for header in headers if header.track == "video"]
    if not pictures:
        return None
    sound = _sound_of({header.track for header in headers})
    return Piece(pictures[0].captured_ns, pictures[-1].captured_ns + pictures[-1].duration_ns, packets, sound)


def _sound_of(tracks: Collection[str]) -> Literal["aac", "opus"] | None:
    return "aac" if "aac" in tracks else "opus" if "opus" in tracks else None

"""Packets of the past before those of now: what a crash of this service missed, and pre-roll.

Both lie in the producer's packet ring, which is read in a thread while live packets are held. The ring has every
packet before the bus does: once a live one has come, ring and bus overlap, and what comes twice is left out.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from schemas.errors import InvalidValue
from schemas.packets import PacketHeader, Track
from schemas.resources import OutputSpec
from schemas.units import parse_duration
from shared.packet_ring import PacketRingReader
from shared.ring import RingError
from shared.tasks import set_within

_log = logging.getLogger(__name__)

Packet = tuple[PacketHeader, bytes]
Read = Callable[[PacketRingReader], Iterable[Packet]]

# Demand reaches a producer in milliseconds; a source that is silent for longer has nothing to lose a seam in.
_LIVE_SECONDS: Final = 1.0
# A disk takes 256 MB in that time; the reconciler gives 15 s to a start.
_FEED_SECONDS: Final = 8.0
_HELD_BYTES: Final = 16 << 20  # live packets while the past is written: 4 s of 32 Mbit/s
_ROUNDS: Final = 3  # times that more came than is held, before live packets are taken as they come


class CatchUp:
    """Between the bus and one writer: hands every packet on once. Belongs to the event loop."""

    def __init__(
        self,
        feed: Callable[[PacketHeader, memoryview], None],
        feed_when_room: Callable[[PacketHeader, memoryview, float], None],
        on_first: Callable[[PacketHeader], None],
    ) -> None:
        """`feed` never waits; `feed_when_room`, called from a thread, waits so many seconds for room; `on_first` is
        told the first picture of the ring before anything is fed."""
        self._feed, self._feed_when_room, self._on_first = feed, feed_when_room, on_first
        self._loop = asyncio.get_running_loop()
        self._positions: dict[Track, tuple[int, int]] = {}
        """(run, index) of the last packet of each track that was handed on."""
        self._held: list[tuple[PacketHeader, memoryview]] | None = None
        self._held_bytes = 0
        self._overflown = self._told = False
        self._live = asyncio.Event()
        self._given_up = threading.Event()

    def hold(self) -> None:
        """Keep live packets back from now on, until `run` has handed on what came before."""
        self._held = []

    def receive(self, header: PacketHeader, payload: memoryview) -> None:
        """A live packet has come."""
        self._live.set()
        if self._held is None:
            self._hand_on(header, payload)
        elif self._held_bytes + len(payload) <= _HELD_BYTES:
            self._held.append((header, payload))
            self._held_bytes += len(payload)
        else:  # the ring has these as well
            self._overflown = True
            self._let_go()

    async def run(self, folder: Path, spec: OutputSpec, read: Read) -> None:
        """Hand on what `read` finds in the rendition's packet ring, then what was held."""
        await set_within(self._live, _LIVE_SECONDS)
        deadline = time.monotonic() + _FEED_SECONDS
        try:
            for _ in range(_ROUNDS):
                self._overflown = False
                await asyncio.to_thread(self._hand_on_ring, folder, spec, read, deadline)
                if not self._overflown:
                    break
                read = self._after_last
        finally:
            self._given_up.set()
            held, self._held = self._held or [], None
            for header, payload in held:
                self._hand_on(header, payload)

    def _hand_on_ring(self, folder: Path, spec: OutputSpec, read: Read, deadline: float) -> None:
        count = 0
        try:
            with PacketRingReader.open_latest(folder, spec.stream, spec.rendition) as ring:
                for header, payload in read(ring):
                    if self._given_up.is_set():
                        break
                    if self._is_new(header):
                        if header.track == "video" and not self._told:
                            self._told = True
                            self._loop.call_soon_threadsafe(self._on_first, header)
                        self._feed_when_room(header, memoryview(payload), max(0.0, deadline - time.monotonic()))
                        count += 1
        except (RingError, LookupError) as error:
            _log.info("%s/%s: nothing of before: %s", spec.stream, spec.output, error)
        _log.info("%s/%s: %d packets from the packet ring", spec.stream, spec.output, count)

    def _after_last(self, ring: PacketRingReader) -> Iterable[Packet]:
        return ring.after(*self._positions.get("video", (-1, -1)))

    def _hand_on(self, header: PacketHeader, payload: memoryview) -> None:
        if self._is_new(header):
            self._feed(header, payload)

    def _is_new(self, header: PacketHeader) -> bool:
        # What was taken from the packet ring comes a second time when the bus was already delivering it.
        position = (header.run, header.index)
        if position <= self._positions.get(header.track, (-1, -1)):
            return False
        self._positions[header.track] = position
        return True

    def _let_go(self) -> None:
        self._held, self._held_bytes = [], 0


def check_preroll(spec: OutputSpec) -> None:
    """Refuse a pre-roll that nothing can come of.

    Raises:
        InvalidValue: names the fix.
    """
    if spec.preroll is None:
        return
    parse_duration(spec.preroll, "preroll")
    if not spec.to.startswith("file:"):
        raise InvalidValue("preroll", spec.preroll, "only files begin in the past; leave it out")


def since(start_ns: int) -> Read:
    """Packets from the key picture at or before `start_ns`, CLOCK_REALTIME; of a producer that still runs."""

    def read(ring: PacketRingReader) -> Iterable[Packet]:
        return () if ring.ended else unbroken_from(ring.since_capture(start_ns), start_ns)

    return read


def unbroken_from(packets: Iterable[Packet], start_ns: int) -> Iterator[Packet]:
    """Leaves out what lies before `start_ns` and does not lead up to it: a source may have been away in between."""
    before: list[Packet] | None = []
    last: PacketHeader | None = None
    for header, payload in packets:
        if before is None:
            yield header, payload
            continue
        if header.track == "video":
            if last is not None and (header.run != last.run or header.index != last.index + 1):
                before = []
            last = header
        before.append((header, payload))
        if header.track == "video" and header.captured_ns >= start_ns:
            yield from before
            before = None

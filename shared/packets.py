"""Encoded packets on their way: a producer's end and a consumer's end of one rendition.

The producer writes every packet to the rendition's packet ring (joins, pre-roll, resuming after a crash) and,
while somebody listens, to the bus. An access unit above the server's payload limit goes in numbered parts.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from schemas.packets import PacketHeader, pack, unpack_packet
from schemas.subjects import packets
from shared.bus import Bus, Message, Subscription
from shared.packet_ring import PacketRingWriter, RingSize

# Room for the header and the protocol's own line around the payload of one part.
_MESSAGE_OVERHEAD_BYTES = 4096
_LESS_HISTORY = "keep less history, lower FRAMEMESH_<SERVICE>_HISTORY_BYTES or _PACKET_RING_BYTES, or "

Deliver = Callable[[PacketHeader, memoryview], None]


class PacketPublisher:
    """The producer's end; video and audio threads may share it."""

    def __init__(
        self,
        bus: Bus,
        folder: Path,
        *,
        stream: str,
        rendition: str,
        run: int,
        ring_seconds: float,
        ring_bytes: int,
    ) -> None:
        """Args:
        run: grows with every new producer of this rendition.

        Raises:
            OutOfSpace: shared memory is too small for the packet ring.
        """
        self._bus = bus
        self._stream = stream
        self._rendition = rendition
        self._run = run
        self._ring = PacketRingWriter.create(
            folder, stream, rendition, run, seconds=ring_seconds, max_bytes=ring_bytes, fix=_LESS_HISTORY
        )
        self._ring_size = RingSize(ring_seconds, ring_bytes)
        self._indexes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.on_bus = True
        """False while nobody listens: packets go to the ring only."""
        self.published_bytes = 0

    def publish(self, payload: bytes, *, track: str, **fields: Any) -> None:
        """Publish one access unit; `fields` are the remaining ones of `PacketHeader`."""
        with self._lock:
            self._publish(payload, track, fields)

    def _publish(self, payload: bytes, track: str, fields: dict[str, Any]) -> None:
        index = self._indexes[track] = self._indexes.get(track, 0) + 1
        fields.setdefault("sequence", index)
        header = PacketHeader(
            stream=self._stream,
            rendition=self._rendition,
            track=track,  # type: ignore[arg-type]  # callers pass a Track; a str keeps **fields simple
            run=self._run,
            index=index,
            encoded_ns=time.time_ns(),
            **fields,
        )
        self._ring.append(header, payload)
        if self.on_bus:
            subject = packets(self._stream, self._rendition, track)
            for message in packet_messages(header, payload, self._bus.max_payload_bytes):
                self._bus.post_from_thread(subject, message)
        self.published_bytes += len(payload)

    @property
    def ring_size(self) -> RingSize:
        """What the packet ring keeps at most."""
        return self._ring_size

    @property
    def held_seconds(self) -> float:
        """How far back the packet ring reaches."""
        with self._lock:
            return self._ring.held_seconds

    @property
    def too_large(self) -> int:
        """Packets that are larger than the whole packet ring, and were not kept."""
        return self._ring.too_large

    def resize(self, size: RingSize) -> None:
        """Keep more or less from now on; what is kept already stays, as far as it fits. Blocks while it is copied.

        Raises:
            OutOfSpace: shared memory is too small; the ring is as it was.
        """
        with self._lock:
            if self._closed:  # another ring would be left behind
                return
            if size.max_bytes != self._ring_size.max_bytes:
                before = self._ring
                self._ring = PacketRingWriter.create(
                    before.folder,
                    self._stream,
                    self._rendition,
                    self._run,
                    seconds=size.seconds,
                    max_bytes=size.max_bytes,
                    continues=before,
                    fix=_LESS_HISTORY,
                )
                before.close()
            self._ring.keep(size.seconds)
            self._ring_size = size

    def gap(self) -> None:
        """What comes does not follow on what came: leave an index out, at which consumers wait for a key packet."""
        with self._lock:
            for track in self._indexes:
                self._indexes[track] += 1

    def close(self) -> None:
        """Remove the packet ring. May be called again."""
        with self._lock:
            self._closed = True
            self._ring.close()


def packet_messages(header: PacketHeader, payload: bytes, limit_bytes: int) -> list[bytes]:
    """The message of an access unit, or as many parts as a server that takes `limit_bytes` needs."""
    part_bytes = limit_bytes - _MESSAGE_OVERHEAD_BYTES
    if len(payload) <= part_bytes:
        return [pack(header, payload)]
    view = memoryview(payload)
    cuts = range(0, len(view), part_bytes)
    return [
        pack(msgspec.structs.replace(header, part=part, parts=len(cuts)), view[start : start + part_bytes])
        for part, start in enumerate(cuts)
    ]


class PacketSubscription:
    """The consumer's end: whole access units, in the event loop, until closed."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._parts: dict[str, tuple[tuple[int, int, int], list[memoryview]]] = {}
        """(run, index, parts) of the access unit that is coming in, and what has come of it, by track."""
        self._subscription: Subscription | None = None

    @classmethod
    async def open(cls, bus: Bus, stream: str, rendition: str, deliver: Deliver) -> Self:
        return await cls.of(bus, packets(stream, rendition), deliver)

    @classmethod
    async def of(cls, bus: Bus, subject: str, deliver: Deliver) -> Self:
        """Of any subject that carries packets."""
        subscription = cls(deliver)
        subscription._subscription = await bus.subscribe(subject, subscription._receive)
        return subscription

    async def close(self) -> None:
        if self._subscription:
            await self._subscription.close()
        self._deliver = _ignore

    def _receive(self, message: Message) -> None:
        header, payload = unpack_packet(message.data)
        if header.parts > 1:
            whole = self._join(header, payload)
            if whole is None:
                return
            header, payload = msgspec.structs.replace(header, part=0, parts=1), whole
        self._deliver(header, payload)

    def _join(self, header: PacketHeader, payload: memoryview) -> memoryview | None:
        unit = (header.run, header.index, header.parts)
        begun, waiting = self._parts.pop(header.track, (unit, []))
        if begun != unit or header.part != len(waiting):  # a part was lost, and with it the unit: consumers see a gap
            waiting = []
            if header.part:
                return None
        waiting.append(payload)
        if len(waiting) < header.parts:
            self._parts[header.track] = (unit, waiting)
            return None
        return memoryview(b"".join(waiting))


def _ignore(_header: PacketHeader, _payload: memoryview) -> None:
    """What a closed subscription does with a message that was under way."""

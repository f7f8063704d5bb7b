"""What a gateway sends of a whip:// stream's publisher, brought from the bus to the source's thread."""

import queue
from typing import Self

import msgspec

from schemas.ingest import IngestSession
from schemas.packets import PacketHeader
from schemas.subjects import ingest, ingest_session
from shared.bus import Bus, Message
from shared.packets import PacketSubscription

_MAX_WAITING = 512  # 4 s of pictures and sound; a thread that is that late has lost its group of pictures anyway
_BUS_SECONDS = 2.0

Item = IngestSession | tuple[PacketHeader, memoryview]


class IngestFeed:
    """Use as a context manager, in the source's thread."""

    def __init__(self, bus: Bus, node: str, stream: str) -> None:
        self._bus, self._node, self._stream = bus, node, stream
        self._items: queue.Queue[Item] = queue.Queue(_MAX_WAITING)
        self.dropped = 0
        """Packets that found the queue full; whoever reads sees a gap in their indexes."""

    def __enter__(self) -> Self:
        """Raises:
        Unavailable: the bus does not answer.
        """
        self._bus.run_from_thread(self._open(), _BUS_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.run_from_thread(self._close(), _BUS_SECONDS)

    def take(self, timeout_seconds: float) -> Item | None:
        """The next that has come; None: nothing within that time."""
        try:
            return self._items.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    async def _open(self) -> None:
        self._sessions = await self._bus.subscribe(ingest_session(self._node, self._stream), self._receive)
        self._packets = await PacketSubscription.of(
            self._bus, ingest(self._node, self._stream), lambda header, payload: self._put((header, payload))
        )

    async def _close(self) -> None:
        await self._sessions.close()
        await self._packets.close()

    def _receive(self, message: Message) -> None:
        self._put(msgspec.json.decode(message.data, type=IngestSession))

    def _put(self, item: Item) -> None:
        try:
            self._items.put_nowait(item)
        except queue.Full:
            self.dropped += 1

"""What a gateway sends of a whip:// stream's publisher, brought from the bus to the source's thread."""

import queue
import threading
from collections import Counter
from typing import Self

import msgspec

from schemas.ingest import IngestSession
from schemas.packets import PacketHeader
from schemas.subjects import ingest, ingest_session
from shared.bus import Bus, Message
from shared.packets import PacketSubscription

_MAX_WAITING = 512  # 4 s of pictures and sound; a thread that is that late has lost its group of pictures anyway
_MAX_WAITING_BYTES = 32 << 20  # as many seconds of 64 Mbit/s; more is somebody who fills our memory
_BUS_SECONDS = 2.0
_FULL = "ingest-full"  # the reason of drops

Item = IngestSession | tuple[PacketHeader, memoryview]


class IngestFeed:
    """Use as a context manager, in the source's thread."""

    def __init__(self, bus: Bus, node: str, stream: str, dropped: Counter[str]) -> None:
        """`dropped` counts what found the queue full; whoever reads sees a gap in the indexes of packets."""
        self._bus, self._node, self._stream = bus, node, stream
        self._items: queue.Queue[Item] = queue.Queue(_MAX_WAITING)
        self._waiting_bytes = 0
        self._counting = threading.Lock()  # of bytes: the event loop adds, the source's thread takes away
        self._dropped = dropped

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
            item = self._items.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        with self._counting:
            self._waiting_bytes -= _size_of(item)
        return item

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
        size = _size_of(item)
        with self._counting:
            if self._waiting_bytes + size > _MAX_WAITING_BYTES:
                self._dropped[_FULL] += 1
                return
            self._waiting_bytes += size
        try:
            self._items.put_nowait(item)
        except queue.Full:
            self._dropped[_FULL] += 1
            with self._counting:
                self._waiting_bytes -= size


def _size_of(item: Item) -> int:
    return 0 if isinstance(item, IngestSession) else len(item[1])

"""What one iteration over a stream's pictures holds in the mesh."""

import asyncio
from collections.abc import Callable

import msgspec

from schemas.frames import FrameRef
from schemas.subjects import RAW, frames
from shared.bus import Bus, Message, Subscription
from shared.demand import Wants
from shared.inbox import FrameInbox
from shared.ring import RingReader
from shared.settings import Settings

_decode_ref = msgspec.json.Decoder(FrameRef).decode


class Feed:
    """Subscription, demand and open rings; ends when the iterator does."""

    def __init__(self, settings: Settings) -> None:
        self.inbox = FrameInbox()
        self.arrived = asyncio.Event()
        self.reader = RingReader(settings.shm_dir)
        self._subscription: Subscription | None = None
        self._stop_wanting: Callable[[], None] | None = None
        self.closed = False

    async def open(self, bus: Bus, wants: Wants, node: str, stream: str, consumer: str) -> None:
        self._subscription = await bus.subscribe(frames(node, stream), self._receive)
        self._stop_wanting = wants.want(node, stream, RAW, consumer)

    def _receive(self, message: Message) -> None:
        self.inbox.put(_decode_ref(message.data))
        self.arrived.set()

    async def close(self) -> None:
        self.closed = True
        self.arrived.set()
        if self._stop_wanting:
            self._stop_wanting()
        if self._subscription:
            await self._subscription.close()
        self.reader.close()

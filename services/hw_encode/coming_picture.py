"""The picture that a stream gives next, for somebody who wants one and may have to wait for his turn."""

import asyncio
import time

import msgspec

from schemas.frames import FrameRef
from shared.bus import Message
from shared.ring import Lease, LeaseError, RingReader
from shared.tasks import set_within

_decode_ref = msgspec.json.Decoder(FrameRef).decode


class ComingPicture:
    """The newest reference that has come, and a lease of its picture when it is needed. Belongs to the event loop."""

    def __init__(self, reader: RingReader) -> None:
        self._reader = reader
        self._newest: FrameRef | None = None
        self._came = asyncio.Event()

    def receive(self, message: Message) -> None:
        """A reference has come."""
        ref = _decode_ref(message.data)
        if self._newest is None or ref.epoch >= self._newest.epoch:
            self._newest = ref
            self._came.set()

    async def within(self, seconds: float) -> bool:
        """Wait for a reference; False when none came in time."""
        return await set_within(self._came, seconds)

    async def lease(self, seconds: float) -> Lease | None:
        """The newest picture, held; None when for so long there was none that could be."""
        deadline = time.monotonic() + seconds
        while await set_within(self._came, max(0.0, deadline - time.monotonic())):
            self._came.clear()
            assert self._newest is not None  # the event says so
            try:
                return self._reader.lease(self._newest)
            except LeaseError:  # overwritten, or its ring is gone: the next one will do
                continue
        return None

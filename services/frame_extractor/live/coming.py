"""The picture that a stream gives next, or nearest to a moment that is to come, held as it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from schemas.frames import FrameRef
from schemas.subjects import RAW, frames
from shared.bus import Bus, Message
from shared.demand import Wants
from shared.ring import Lease, LeaseError, RingReader
from shared.tasks import set_within

_CONSUMER: Final = "frame-extractor-picture"
_decode_ref = msgspec.json.Decoder(FrameRef).decode


class Coming:
    """At most one picture is held, so the writer is never short of slots. Belongs to the event loop."""

    def __init__(self, reader: RingReader, at_ns: int | None) -> None:
        """`at_ns`: the moment; None: whichever comes first."""
        self._reader, self._at_ns = reader, at_ns
        self._held: Lease | None = None
        self._passed = asyncio.Event()

    def receive(self, message: Message) -> None:
        """A reference has come."""
        if self._passed.is_set():
            return
        ref = _decode_ref(message.data)
        held = self._held.ref if self._held else None
        if (
            held is None
            or self._at_ns is None
            or abs(ref.captured_ns - self._at_ns) < abs(held.captured_ns - self._at_ns)
        ):
            self.close()
            try:
                self._held = self._reader.lease(ref)
            except LeaseError:  # overwritten, or its ring is gone: the next one will do
                return
        if self._at_ns is None or ref.captured_ns >= self._at_ns:
            self._passed.set()

    async def take(self, seconds: float) -> Lease | None:
        """The picture, the caller's from now on, once no nearer one can come; None when there was none in time."""
        await set_within(self._passed, seconds)
        self._passed.set()  # nothing more is taken
        lease, self._held = self._held, None
        return lease

    def close(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None


@asynccontextmanager
async def coming(
    bus: Bus, wants: Wants, reader: RingReader, node: str, stream: str, at_ns: int | None
) -> AsyncIterator[Coming]:
    """Follow a stream of this node; it is decoded for that, whoever else looks."""
    pictures = Coming(reader, at_ns)
    subscription = await bus.subscribe(frames(node, stream), pictures.receive)
    stop_wanting = wants.want(node, stream, RAW, _CONSUMER)
    try:
        yield pictures
    finally:
        stop_wanting()
        await subscription.close()
        pictures.close()

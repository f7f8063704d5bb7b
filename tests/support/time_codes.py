"""The time code of each picture of a stream as it is written, and what its reference tells."""

import time
from typing import Final, Self

import msgspec

from schemas.frames import FrameRef
from schemas.subjects import frames
from shared.bus import Bus, Message, Subscription
from shared.media import timecode
from shared.ring import LeaseError, RingReader

_decode: Final = msgspec.json.Decoder(FrameRef).decode
NS_PER_MS: Final = 1_000_000


class TimeCodes:
    """Follows one stream from `open` to `close`; shows no demand."""

    def __init__(self, reader: RingReader) -> None:
        self._reader = reader
        self._subscription: Subscription | None = None
        self.codes: dict[tuple[int, int], int] = {}
        """By epoch and sequence: CLOCK_REALTIME in ns."""
        self.refs: list[FrameRef] = []

    async def open(self, bus: Bus, node: str, stream: str) -> Self:
        self._subscription = await bus.subscribe(frames(node, stream), self._receive)
        return self

    def _receive(self, message: Message) -> None:
        ref = _decode(message.data)
        self.refs.append(ref)
        try:
            with self._reader.lease(ref) as lease:
                code = timecode.read(lease.array[: ref.height], time.time_ns() // NS_PER_MS)
        except LeaseError:  # this process was late
            return
        if code is not None:
            self.codes[ref.epoch, ref.sequence] = code * NS_PER_MS

    async def close(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()
        self._reader.close()

"""Looks at a stream's pictures as they come, a few each second, for motion and changes of scene."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.frames import FrameRef
from schemas.sample_resources import SampleReason, SampleSpec
from schemas.subjects import RAW, frames
from schemas.units import NS_PER_SECOND, parse_duration
from services.frame_extractor.live.samples.changes import Changes, brightness
from shared.bus import Bus, Message
from shared.demand import Wants
from shared.ring import LeaseError, RingReader

# Motion that is over in less is seen by nobody; each look costs some 0.1 ms.
_LOOK_NS: Final = 100_000_000
_decode_ref = msgspec.json.Decoder(FrameRef).decode


class MotionWatch:
    """Calls `begins` in the event loop with the picture that something begins with; shows demand all the time."""

    def __init__(
        self,
        bus: Bus,
        wants: Wants,
        reader: RingReader,
        node: str,
        spec: SampleSpec,
        begins: Callable[[FrameRef, SampleReason], None],
    ) -> None:
        self._bus, self._wants, self._reader, self._node = bus, wants, reader, node
        self._spec, self._begins = spec, begins
        quiet_ns = round(parse_duration(spec.quiet_for, "quiet_for") * NS_PER_SECOND)
        self.changes = Changes(spec.motion, spec.scene, spec.levels, quiet_ns)
        self._looked_ns = 0

    async def run(self) -> None:
        """Until cancelled."""
        stop_wanting = self._wants.want(self._node, self._spec.stream, RAW, f"frame-extractor-{self._spec.sample}")
        try:
            subscription = await self._bus.subscribe(frames(self._node, self._spec.stream), self._receive)
            try:
                await asyncio.Event().wait()
            finally:
                await subscription.close()
        finally:
            stop_wanting()

    def _receive(self, message: Message) -> None:
        ref = _decode_ref(message.data)
        if ref.monotonic_ns - self._looked_ns < _LOOK_NS and ref.monotonic_ns >= self._looked_ns:
            return
        self._looked_ns = ref.monotonic_ns
        try:
            with self._reader.lease(ref) as picture:
                grid = brightness(picture.array, ref.pixel_format, ref.width, ref.height)
        except LeaseError:  # overwritten: the next one will do
            return
        reason = self.changes.look(grid, ref.captured_ns)
        if reason is not None:
            self._begins(ref, reason)

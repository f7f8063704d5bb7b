"""The publisher's side of a lossless stream: credits come in, what they do not come for is published again."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.frames import FrameAck, FrameRef
from schemas.subjects import ack
from shared.bus import Bus, Message, Subscription
from shared.ring import LosslessGate
from shared.ring.lossless import FailedPicture

_RESEND_CHECK_SECONDS: Final = 0.25  # how late a reference that was lost may be published again
_decode_ack = msgspec.json.Decoder(FrameAck).decode
log = logging.getLogger(__name__)


class Credits:
    """Keeps one gate informed while it is open."""

    def __init__(
        self,
        bus: Bus,
        node: str,
        gate: LosslessGate,
        *,
        publish: Callable[[FrameRef], None],
        failed: Callable[[FailedPicture], None],
    ) -> None:
        """`failed` is called with each picture that the consumer could not use."""
        self.gate = gate
        self.arrived = asyncio.Event()
        """Set by every credit; whoever waits for one clears it first."""
        self._bus, self._node = bus, node
        self._publish, self._failed = publish, failed
        self._subscription: Subscription | None = None
        self._resending: asyncio.Task[None] | None = None
        self._consumer_is_there = False

    async def start(self) -> None:
        self._subscription = await self._bus.subscribe(ack(self._node, self.gate.stream), self._receive)
        self._resending = asyncio.create_task(self._resend(), name=f"resend {self.gate.stream}")

    def consumers_changed(self, names: list[str]) -> None:
        """These take the stream's pictures now. One that has just come has missed what was published before."""
        before, self._consumer_is_there = self._consumer_is_there, self.gate.consumer in names
        if self._consumer_is_there and not before:
            for ref in self.gate.due(everything=True):
                self._publish(ref)

    def _receive(self, message: Message) -> None:
        try:
            failed = self.gate.acknowledge(_decode_ack(message.data))
        except msgspec.DecodeError as error:
            log.warning("credit on %s skipped: %s", message.subject, error)
            return
        self.arrived.set()
        if failed is not None:
            self._failed(failed)

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(_RESEND_CHECK_SECONDS)
            if self._bus.connected:
                for ref in self.gate.due():
                    self._publish(ref)

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until everything is consumed; False when it is not by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self.gate.in_flight:
                    self.arrived.clear()
                    await self.arrived.wait()
        return not self.gate.in_flight

    async def close(self) -> None:
        if self._resending:
            self._resending.cancel()
            await asyncio.gather(self._resending, return_exceptions=True)
        if self._subscription:
            await self._subscription.close()

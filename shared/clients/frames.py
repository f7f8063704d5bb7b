"""An application's iterator over the pictures of one stream."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from schemas.frames import FrameAck, FrameRef
from schemas.ids import check_id
from schemas.resources import StreamSpec
from schemas.subjects import DESIRED_BUCKET, ack, state_key
from shared.bus import Bus
from shared.clients.errors import OtherNode, PicturesHeld
from shared.clients.feed import Feed
from shared.clients.frame import Frame
from shared.clients.keeper import Keeper
from shared.clients.state import explain_no_frames
from shared.demand import Wants
from shared.lossless_order import LosslessOrder
from shared.ring import Lease, LeaseError, LeaseLimit
from shared.settings import Settings

log = logging.getLogger(__name__)

_SAY_WHY_AFTER_SECONDS: Final = 5.0  # who waits without a deadline still wants to know what for


@dataclass
class FrameCounts:
    """What has become of a stream's pictures since the iteration began."""

    delivered: int = 0
    missed: int = 0
    """Written between two delivered ones, but replaced by a newer one or overwritten before they were taken."""
    epochs: int = 0
    """Writers followed: 1, plus one for each restart of the source."""
    failed: int = 0
    """Pictures of a lossless stream that could not be had; their writer was told."""


class FrameStream:
    """`async for frame in mesh.frames("cam0")`: always the newest picture; of a lossless stream, with `consumer`, each.

    Shows demand while it lives, follows restarts of the source and of the bus. For one task at a time.
    """

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        wants: Wants,
        stream: str,
        *,
        application: str,
        consumer: str | None,
        timeout_seconds: float | None,
        keeper: Keeper,
    ) -> None:
        self._feed: Feed | None = None
        self.stream = check_id(stream, "stream")
        self.counts = FrameCounts()
        self._bus, self._settings, self._wants = bus, settings, wants
        self._demand_name = consumer or application
        self._consumer = check_id(consumer, "consumer") if consumer else None
        self._timeout_seconds = timeout_seconds
        self._keeper = keeper
        self._order = LosslessOrder()
        self._current: Frame | None = None
        self._again: FrameRef | None = None
        """A reference that is to be used, but could not be while the application held too many."""
        self._last = (-1, 0)  # epoch and sequence of the last one delivered
        self._last_problem = ""
        self._told_epoch = -1
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        """The next picture.

        Raises:
            NoSuchStream, OtherNode, NoFrames: none came within the timeout, and why.
            PicturesHeld: the application keeps too many.
        """
        self._let_go()
        if self._closed:
            raise StopAsyncIteration
        feed = self._feed or await self._open()
        started = time.monotonic()
        while True:
            ref = await self._next_ref(feed, started)
            if ref is None:
                raise StopAsyncIteration
            lease = self._lease(feed, ref)
            if lease is not None:
                break
        self._count(ref)
        done = (lambda: self._acknowledge(ref, ref.sequence)) if self._follows(ref) else _nothing_owed
        self._current = Frame(ref, lease, done)
        return self._current

    async def _open(self) -> Feed:
        """Subscribe and show demand.

        Raises:
            OtherNode: at once, for waiting would not help.
        """
        node = self._settings.node
        bucket = await self._bus.bucket(DESIRED_BUCKET)
        entry = await bucket.get(state_key("capture", self.stream))
        if entry is not None:
            spec = msgspec.json.decode(entry.value, type=StreamSpec)
            if spec.node != node:
                raise OtherNode(self.stream, spec.node or "", node)
        feed = Feed(self._settings)
        self._keeper.add(feed)
        await feed.open(self._bus, self._wants, node, self.stream, self._demand_name)
        self._feed = feed
        return feed

    async def _next_ref(self, feed: Feed, started: float) -> FrameRef | None:
        """The next reference to use, None when closed; raises when there is none in time."""
        said = self._timeout_seconds is not None
        while not feed.closed:
            feed.arrived.clear()
            ref = self._take(feed)
            if ref is not None:
                return ref
            limit = self._timeout_seconds if said else _SAY_WHY_AFTER_SECONDS
            remaining = None if limit is None else started + limit - time.monotonic()
            try:
                if remaining is None or remaining > 0:
                    async with asyncio.timeout(remaining):
                        await feed.arrived.wait()
                    continue
            except TimeoutError:
                pass
            waited = round(time.monotonic() - started, 1)
            why = await explain_no_frames(self._bus, self._settings, self.stream, waited, self._last_problem)
            if self._timeout_seconds is not None:
                raise why
            said = True
            log.warning("%s; waiting on", why)
        return None

    def _take(self, feed: Feed) -> FrameRef | None:
        found, self._again = self._again, None
        if found is not None and self._follows(found):
            return found
        while (ref := feed.inbox.get(0)) is not None:
            if not self._follows(ref):
                found = ref  # an onlooker of a lossless stream takes the newest, as of a live one
                continue
            verdict = self._order.judge(ref)
            if verdict == "use":
                return ref
            if verdict == "repeated":
                self._acknowledge(ref, self._order.last)
        return found

    def _follows(self, ref: FrameRef) -> bool:
        if self._consumer is None or ref.delivery == "live":
            return False
        if ref.consumer != self._consumer and ref.epoch != self._told_epoch:
            self._told_epoch = ref.epoch
            log.warning("%s is for consumer %r; %r looks on", ref.stream, ref.consumer, self._consumer)
        return ref.consumer == self._consumer

    def _lease(self, feed: Feed, ref: FrameRef) -> Lease | None:
        try:
            return feed.reader.lease(ref)
        except LeaseLimit:
            self._again = ref
            raise PicturesHeld(self.stream, feed.reader.held) from None
        except LeaseError as error:
            self._last_problem = str(error)
            if self._follows(ref):
                self.counts.failed += 1
                self._acknowledge(ref, ref.sequence, str(error))
            return None

    def _count(self, ref: FrameRef) -> None:
        epoch, sequence = self._last
        if ref.epoch == epoch:
            self.counts.missed += max(0, ref.sequence - sequence - 1)
        else:
            self.counts.epochs += 1
            if self._feed:
                self._feed.reader.trim()  # the former writer's ring goes, and its memory with it
        self._last = (ref.epoch, ref.sequence)
        self.counts.delivered += 1
        self._last_problem = ""

    def _acknowledge(self, ref: FrameRef, sequence: int, error: str = "") -> None:
        assert self._consumer is not None  # only who follows a lossless stream owes credits
        credit = FrameAck(stream=ref.stream, epoch=ref.epoch, consumer=self._consumer, sequence=sequence, error=error)
        self._bus.post_from_thread(ack(ref.node, ref.stream), msgspec.json.encode(credit))

    def _let_go(self) -> None:
        frame, self._current = self._current, None
        if frame is None:
            return
        if frame.kept:
            frame.consumed()
        else:
            frame.release()

    async def aclose(self) -> None:
        """Withdraw the demand. Leaving the loop and dropping the iterator does the same a little later."""
        self._closed = True
        self._current = None
        feed, self._feed = self._feed, None
        if feed is not None:
            await self._keeper.close(feed)

    async def __aenter__(self) -> Self:
        """Begin at once, so that a picture written from now on is seen."""
        if self._feed is None and not self._closed:
            await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        feed = self._feed
        if feed is not None:
            self._keeper.drop(feed)


def _nothing_owed() -> None:
    """Live pictures need no credit."""

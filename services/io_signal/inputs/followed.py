"""A stream whose references are followed, so that instants can be joined to its pictures."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.errors import MeshError
from schemas.frames import FrameRef
from schemas.resources import StreamActual, StreamSpec
from schemas.signal_resources import JoinedFrame
from schemas.subjects import RAW, frames
from schemas.units import NS_PER_SECOND
from services.io_signal.inputs.frame_times import StreamTimes
from shared.bus import Bus, Message, Subscription
from shared.demand import Wants
from shared.desired import Desired
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

Streams = Desired[StreamSpec, StreamActual]
Joined = Callable[[JoinedFrame | None, str], None]
"""Takes the picture, or None and why there is none."""

JOIN_SECONDS: Final = 0.25
"""So long the picture behind an instant is waited for, beyond what pictures of its stream take to come: seven
pictures' time at 30 a second."""
_MOST_LATE_SECONDS: Final = 5.0  # a stream behind that is replayed, not live
_MOST_WAITING: Final = 1_024  # instants: two seconds of the fastest input
_RETRY_SECONDS: Final = 0.5
_CONSUMER: Final = "io-signal"
_DIGEST_BYTES: Final = 6  # names of nodes may be as long as those of consumers
_decode_ref: Final = msgspec.json.Decoder(FrameRef).decode


class FollowedStream:
    """Demand, subscription and the instants that wait for a picture, from `start` to `close`.

    The stream need not be there: it is followed once it is, on whichever node. Instants of another node's stream are
    as good as the two clocks agree.
    """

    def __init__(self, stream: str, here: str, bus: Bus, wants: Wants, streams: Streams, times: StreamTimes) -> None:
        """`here`: the node of this service."""
        self.stream, self.times, self._here = stream, times, here
        self.users = 0
        self._needing = 0
        self.left_out = 0
        """Instants that were not joined, as too many waited."""
        self._bus, self._wants, self._streams = bus, wants, streams
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[int, float, Joined]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._node: str | None = None
        self._subscription: Subscription | None = None
        self._stop_wanting: Callable[[], None] | None = None
        self._poke = asyncio.Event()
        self._poke.set()
        self._forget = streams.on_changed(self._look)
        self._task = start_task(self._follow(), f"follow {stream}")

    @property
    def node(self) -> str | None:
        """Where the stream is; None: nowhere yet."""
        found = self._streams.spec(self.stream)
        return found[0].node if found is not None else None

    def need(self, more: int) -> None:
        """So many more, or fewer, need its pictures to be made; others are content with those that are made anyway."""
        self._needing += more
        self._show_demand()

    # -- joining ---------------------------------------------------------------------------------------------

    def join(self, at_ns: int, joined: Joined) -> None:
        """Call `joined` once the pictures around an instant are known, or the time for that is over."""
        if self.times.is_settled(at_ns):
            self._tell(at_ns, joined)
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.left_out += 1
            joined(None, f"{_MOST_WAITING} instants wait for pictures of {self.stream} already")
            return
        late_seconds = min(self.times.late_ns / NS_PER_SECOND, _MOST_LATE_SECONDS)
        self._waiting.append((at_ns, self._loop.time() + JOIN_SECONDS + late_seconds, joined))
        if self._timer is None:
            self._set_timer()

    def _receive(self, message: Message) -> None:
        self.times.take(_decode_ref(message.data))
        for _ in range(len(self._waiting)):
            waiting = self._waiting.popleft()
            if self.times.is_settled(waiting[0]):
                self._tell(waiting[0], waiting[2])
            else:
                self._waiting.append(waiting)

    def _set_timer(self) -> None:
        first = min(until for _, until, _ in self._waiting)
        self._timer = self._loop.call_at(first, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        now = self._loop.time()
        for _ in range(len(self._waiting)):
            waiting = self._waiting.popleft()
            if waiting[1] <= now:
                self._tell(waiting[0], waiting[2])
            else:
                self._waiting.append(waiting)
        if self._waiting:
            self._set_timer()

    def _tell(self, at_ns: int, joined: Joined) -> None:
        found = self.times.join(at_ns)
        joined(found, "" if found is not None else self._why_not(at_ns))

    def _why_not(self, at_ns: int) -> str:
        if self._streams.spec(self.stream) is None:
            return f"there is no stream {self.stream!r}"
        since_ns = self.times.nearest_ns(at_ns)
        actual = self._streams.actual(self.stream)
        state = actual.state if actual is not None else "not taken up by capture yet"
        if since_ns is None:
            return f"no picture of {self.stream} has come; it is {state}"
        where = "before" if since_ns >= 0 else "after"
        return (
            f"the nearest picture of {self.stream} was captured "
            f"{abs(since_ns) / NS_PER_SECOND:.3f} s {where} it; it is {state}"
        )

    # -- following -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.node != self._node:
            self._poke.set()

    async def _follow(self) -> None:
        retry_seconds: float | None = None
        while True:
            await set_within(self._poke, retry_seconds)
            self._poke.clear()
            retry_seconds = None
            if self.node == self._node:
                continue
            await self._let_go()
            if (node := self.node) is None:
                continue
            try:
                self._subscription = await self._bus.subscribe(frames(node, self.stream), self._receive)
            except MeshError as error:
                log.info("%s is not followed yet: %s", self.stream, error)
                retry_seconds = _RETRY_SECONDS
                continue
            self._node = node
            self._show_demand()

    def _show_demand(self) -> None:
        wanted = self._needing > 0 and self._node is not None
        if wanted and self._stop_wanting is None:
            assert self._node is not None
            self._stop_wanting = self._wants.want(self._node, self.stream, RAW, _consumer(self._here, self._node))
        elif not wanted and self._stop_wanting is not None:
            self._stop_wanting()
            self._stop_wanting = None

    async def _let_go(self) -> None:
        self._node = None
        self._show_demand()
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            await subscription.close()

    async def close(self) -> None:
        """Show no demand any more; what waits for a picture is told that there is none."""
        self._forget()
        await end_tasks(self._task)
        await self._let_go()
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            at_ns, _, joined = self._waiting.popleft()
            self._tell(at_ns, joined)


def _consumer(here: str, node: str) -> str:
    """Whose demand it is: of each node that follows a stream its own, as the last one who goes takes it back."""
    if here == node:
        return _CONSUMER
    return f"{_CONSUMER}-{hashlib.blake2b(here.encode(), digest_size=_DIGEST_BYTES).hexdigest()}"

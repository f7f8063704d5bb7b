"""The last events of the mesh, for pages that were not open when they happened.

What happens now comes with the usual subscription, at once; what was before comes from the stream that the bus keeps.
An event that comes both ways is one: service, id, name, node and its nanosecond tell it from every other.
"""

import asyncio
import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Protocol

from schemas.errors import MeshError
from schemas.events import JOB_PROGRESS, OF_JOBS, Event
from schemas.ids import COMPOUND_SEPARATOR
from schemas.packets import UNREADABLE
from shared.bus import Message
from shared.event_message import whole_event_in
from shared.tasks import end_tasks, start_task

logger = logging.getLogger(__name__)

READ_AT_START: Final = 500  # a busy hour of a dozen cameras; each is one small request
KEPT: Final = 100  # of all streams together, what a page shows besides
KEPT_OF_A_STREAM: Final = 12  # as many as its page shows, so that a quiet stream has its own in spite of a noisy one
_MAX_STREAMS: Final = 1_000  # those heard of last; more than one gateway shows
_AGAIN_SECONDS: Final = 2.0

_Identity = tuple[str, str, str, str, int]


class EventKeeper(Protocol):
    """The bus, as far as it is needed here."""

    async def kept_events(self, after: int, most: int) -> tuple[int, list[Message]]: ...


class EventHistory:
    """The newest events of all streams, and of each one."""

    def __init__(self, bus: EventKeeper, on_missed: Callable[[Event], None] = lambda event: None) -> None:
        """`on_missed` is told of an event that came while the bus was away, and only the stream knew of."""
        self._bus, self._on_missed = bus, on_missed
        self._newest: deque[Event] = deque(maxlen=KEPT)
        self._by_stream: OrderedDict[str, deque[Event]] = OrderedDict()
        self._seen: OrderedDict[_Identity, None] = OrderedDict()
        self._sequence = 0
        """In the bus' stream, up to which it was read."""
        self._reading: asyncio.Task[None] | None = None

    def add(self, event: Event) -> bool:
        """Keep an event that happened now; False: it is known."""
        identity = _identity(event)
        if identity in self._seen:
            return False
        if event.event == JOB_PROGRESS:
            return True  # twice a second of each job: what comes next says it again
        self._seen[identity] = None
        if len(self._seen) > 2 * READ_AT_START:  # those of which the stream may tell again
            self._seen.popitem(last=False)
        self._newest.append(event)
        if event.event.startswith(OF_JOBS):
            return True  # a job is no stream: a thousand of them would have every stream's events forgotten
        stream = event.id.partition(COMPOUND_SEPARATOR)[0]
        kept = self._by_stream.setdefault(stream, deque(maxlen=KEPT_OF_A_STREAM))
        kept.append(event)
        self._by_stream.move_to_end(stream)
        if len(self._by_stream) > _MAX_STREAMS:
            self._by_stream.popitem(last=False)
        return True

    def events(self) -> list[Event]:
        """All that is kept, the oldest first."""
        found = {_identity(event): event for event in itertools.chain(self._newest, *self._by_stream.values())}
        return sorted(found.values(), key=lambda event: event.at_ns)

    def read_soon(self) -> None:
        """Read what the stream has and we have not: at the start, and whenever the bus is back."""
        if self._reading is None or self._reading.done():
            self._reading = start_task(self._read(), "read kept events")

    async def close(self) -> None:
        if self._reading is not None:
            await end_tasks(self._reading)

    async def _read(self) -> None:
        while True:
            try:
                last, found = await self._bus.kept_events(self._sequence, READ_AT_START)
                break
            except MeshError as error:
                logger.debug("kept events: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)  # the bus is back before its JetStream is
        first = self._sequence == 0
        self._sequence = last
        events = []
        for message in found:
            try:
                events.append(whole_event_in(message.subject, message.data))
            except (MeshError, *UNREADABLE):
                continue  # of a later version, or nobody's
        if first:
            self._begin_with(events)
            return
        for event in events:
            if self.add(event):
                self._on_missed(event)

    def _begin_with(self, events: list[Event]) -> None:
        """What was before, below what has come while it was read."""
        since = self.events()
        self._newest.clear()
        self._by_stream.clear()
        self._seen.clear()
        for event in [*events, *since]:
            self.add(event)


def _identity(event: Event) -> _Identity:
    return event.service, event.id, event.event, event.node, event.at_ns

"""An application's iterator over what happens in the mesh, and what it tells the mesh itself."""

import asyncio
import logging
import time
from collections import deque
from typing import Any, Final, Self

import msgspec

from schemas import subjects
from schemas.errors import InvalidValue, MeshError, Unavailable
from schemas.events import Event
from schemas.frames import FrameRef
from schemas.ids import COMPOUND_SEPARATOR, check_id
from schemas.subjects import all_events
from shared.bus import Bus, Message, Subscription
from shared.clients.keeper import Keeper
from shared.event_message import event_in

log = logging.getLogger(__name__)

OF_APPLICATIONS: Final = "app"
"""What stands for the service in events that applications post."""
_MAX_WAITING: Final = 1024  # a busy mesh makes a few a second; an application that sleeps for minutes loses the oldest


def application_event(resource: str, name: str, node: str, about: FrameRef | None, detail: dict[str, Any]) -> Event:
    """`mesh.v1.evt.app.<resource>.<name>`; `about`: the picture that it is about, as fields of the detail.

    Raises:
        InvalidValue: a name is no id, or the detail holds what is no JSON, or too much.
    """
    subject = subjects.event(OF_APPLICATIONS, resource, name)
    picture = {}
    if about is not None:
        picture = {field: getattr(about, field) for field in ("stream", "epoch", "sequence", "captured_ns")}
    try:
        plain = msgspec.to_builtins({**picture, **detail})
        told = Event(service=OF_APPLICATIONS, id=resource, event=name, node=node, at_ns=time.time_ns(), detail=plain)
        # Read as others will read it: what nobody would take is refused here, and not lost on the way.
        event_in(subject, msgspec.json.encode(told))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidValue(
            "detail", tuple(detail), f"give numbers, texts, lists and mappings of them ({error})"
        ) from None
    return told


class NoEvents(Unavailable, TimeoutError):
    """Nothing has happened in time. The iteration goes on when it is asked again, and nothing is missed between."""

    def __init__(self, waited_seconds: float) -> None:
        super().__init__(f"no event within {waited_seconds:g} s")


class EventQueue:
    """Between the bus and one iterator; the oldest events go when it is full."""

    def __init__(self, service: str | None, stream: str | None) -> None:
        self._service, self._stream = service, stream
        self.waiting: deque[Event] = deque()
        self.arrived = asyncio.Event()
        self.dropped = 0
        self.closed = False
        self.subscription: Subscription | None = None

    def receive(self, message: Message) -> None:
        try:
            event = event_in(message.subject, message.data)
        except MeshError as error:
            log.warning("event on %s skipped: %s", message.subject, error)
            return
        of_stream = event.id.partition(COMPOUND_SEPARATOR)[0]
        if self._service not in (None, event.service) or self._stream not in (None, of_stream):
            return
        if len(self.waiting) >= _MAX_WAITING:
            self.waiting.popleft()
            self.dropped += 1
        self.waiting.append(event)
        self.arrived.set()

    async def close(self) -> None:
        self.closed = True
        self.arrived.set()
        if self.subscription:
            await self.subscription.close()


class EventStream:
    """`async for event in mesh.events(service="capture", stream="cam0")`: from now on, each once, in order.

    "Now" is when the iteration begins, or the `async with` block.
    """

    def __init__(
        self, bus: Bus, keeper: Keeper, *, service: str | None, stream: str | None, timeout_seconds: float | None
    ) -> None:
        self._bus = bus
        self._keeper = keeper
        self._timeout_seconds = timeout_seconds
        self._queue = EventQueue(service, stream)
        if service is not None:
            check_id(service, "service")
        if stream is not None:
            check_id(stream, "stream")

    @property
    def dropped(self) -> int:
        """Events lost because the application was too slow."""
        return self._queue.dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            NoEvents: none came within the timeout.
        """
        await self._open()
        queue, limit = self._queue, self._timeout_seconds
        deadline = None if limit is None else asyncio.get_running_loop().time() + limit
        while not queue.waiting:
            if queue.closed:
                raise StopAsyncIteration
            queue.arrived.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await queue.arrived.wait()
            except TimeoutError:
                raise NoEvents(limit or 0) from None
        return queue.waiting.popleft()

    async def _open(self) -> None:
        if self._queue.subscription is None and not self._queue.closed:
            self._keeper.add(self._queue)
            self._queue.subscription = await self._bus.subscribe(all_events(), self._queue.receive)
            await self._bus.flush()  # the server knows the subscription: what happens from here on is seen

    async def aclose(self) -> None:
        """End the subscription; whoever waits is woken."""
        await self._keeper.close(self._queue)

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._keeper.drop(self._queue)

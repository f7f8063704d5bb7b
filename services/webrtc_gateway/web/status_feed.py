"""The state of the mesh as the console's event socket tells it: whole, at every change, a few times a second."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Literal, Self

import msgspec

from schemas.commands import MeshStatus
from schemas.events import Event
from schemas.subjects import all_events
from services.webrtc_gateway.web.event_history import EventHistory
from shared.bus import Bus, Message, Subscription
from shared.event_message import event_in
from shared.state import StateMirrors
from shared.status import mesh_status

Kind = Literal["status", "event"]

_MIN_GAP_SECONDS = 0.25  # changes closer than this are told together
_QUEUE_MESSAGES = 64  # a console behind by more than this misses events; the state it gets is always the latest


class MeshStatusFeed:
    """See `source.StatusFeed`."""

    def __init__(self, mirrors: StateMirrors, dropped: Counter[str]) -> None:
        """`dropped` counts messages that a console did not get, by reason."""
        self._mirrors = mirrors
        self._dropped = dropped
        self._listeners: set[_Listener] = set()
        self._subscription: Subscription | None = None
        self._history: EventHistory | None = None
        self._forget_hook: Callable[[], None] = _nothing
        self._due: asyncio.TimerHandle | None = None
        mirrors.on_change(self._changed)

    @classmethod
    async def open(cls, bus: Bus, mirrors: StateMirrors, dropped: Counter[str]) -> Self:
        feed = cls(mirrors, dropped)
        feed._history = EventHistory(bus, feed._tell_event)
        feed._subscription = await bus.subscribe(all_events(), feed._event)
        feed._forget_hook = bus.on_reconnect(feed._history.read_soon)
        feed._history.read_soon()
        return feed

    def current(self) -> MeshStatus:
        return mesh_status(self._mirrors)

    async def subscribe(self) -> AsyncIterator[bytes]:
        listener = _Listener(self._dropped)
        # Both at one moment: what is in the history is not told again, and what is not will be.
        self._listeners.add(listener)
        history = self._history.events() if self._history else []
        try:
            yield self._status_message()
            if history:
                yield msgspec.json.encode({"type": "history", "events": history})
            while True:
                yield await listener.get()
        finally:
            self._listeners.discard(listener)

    async def close(self) -> None:
        if self._due:
            self._due.cancel()
        self._forget_hook()
        if self._subscription:
            await self._subscription.close()
        if self._history:
            await self._history.close()

    def _status_message(self) -> bytes:
        return msgspec.json.encode({"type": "status", "status": self.current()})

    def _changed(self) -> None:
        if self._due is None and self._listeners:
            self._due = asyncio.get_running_loop().call_later(_MIN_GAP_SECONDS, self._tell_status)

    def _tell_status(self) -> None:
        self._due = None
        self._tell("status", self._status_message())

    def _event(self, message: Message) -> None:
        event = event_in(message.subject, message.data)
        if self._history is None or self._history.add(event):
            self._tell_event(event)

    def _tell_event(self, event: Event) -> None:
        if self._listeners:
            self._tell("event", msgspec.json.encode({"type": "event", "event": event}))

    def _tell(self, kind: Kind, text: bytes) -> None:
        for listener in self._listeners:
            listener.put(kind, text)


def _nothing() -> None:
    """What there is to take off before anything was put on."""


class _Listener:
    """One console's bounded queue; when it is full the oldest goes."""

    def __init__(self, dropped: Counter[str]) -> None:
        self._queue: asyncio.Queue[tuple[Kind, bytes]] = asyncio.Queue(_QUEUE_MESSAGES)
        self._dropped = dropped

    async def get(self) -> bytes:
        return (await self._queue.get())[1]

    def put(self, kind: Kind, text: bytes) -> None:
        if self._queue.full():
            oldest_kind, _ = self._queue.get_nowait()
            self._dropped[f"{oldest_kind}_behind"] += 1
        self._queue.put_nowait((kind, text))

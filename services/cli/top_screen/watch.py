"""Follows a mesh over its bus: state and events as they come, what is measured by asking once a second."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from typing import Final, Self, TypeVar

import msgspec

from schemas.capture_commands import StatsRequest, StreamStats
from schemas.errors import BadRequest, MeshError
from schemas.events import JOB_PROGRESS, Event
from schemas.extraction import Job, JobList, ListJobs
from schemas.packets import UNREADABLE
from schemas.sessions import ListSessions, SessionInfo
from schemas.subjects import EVENTS_STREAM, all_events, command
from services.cli.status import WholeStatus, whole_status
from services.cli.top_screen.figures import Buckets, Figures, Key, quantile_ms
from services.cli.top_screen.rows import event_row, service_row, stream_row, work_rows
from services.cli.top_screen.scene import EventRow, Scene
from shared.bus import Bus, Message, Subscription, shown_servers
from shared.event_message import whole_event_in
from shared.gateways import Gateways
from shared.state import StateMirrors

_ASK_SECONDS: Final = 1.0  # figures are there, nothing is waited for
_AT_ONCE: Final = 16  # streams asked; hundreds at once would only wait in their owner
_KEPT_EVENTS: Final = 200
_PAST_SECONDS: Final = 600.0
_SHOWN_JOBS: Final = 20
Reply = TypeVar("Reply")


class Watch:
    """Ends with `close`."""

    def __init__(self, bus: Bus, mirrors: StateMirrors) -> None:
        self._bus, self._mirrors = bus, mirrors
        self._gateways = Gateways(bus, lambda: mirrors.present("webrtc-gateway"))
        self._figures = Figures()
        self._events: deque[EventRow] = deque(maxlen=_KEPT_EVENTS)
        self._subscription: Subscription | None = None
        self._stats: dict[str, StreamStats] = {}
        self._sessions: tuple[SessionInfo, ...] = ()
        self._jobs: tuple[Job, ...] = ()
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._seen_s = time.monotonic()

    @classmethod
    async def open(cls, bus: Bus) -> Self:
        """Raises: Unavailable: the bus does not answer."""
        watch = cls(bus, await StateMirrors.open(bus))
        watch._subscription = await bus.subscribe(all_events(), watch._event)
        await watch._remember()
        return watch

    async def _remember(self) -> None:
        """What happened shortly before; where that cannot be read the screen begins without it."""
        came = list(self._events)
        with contextlib.suppress(MeshError):
            async for _, message in self._bus.kept_since(EVENTS_STREAM, all_events(), time.time() - _PAST_SECONDS):
                self._event(message)
        seen: dict[EventRow, None] = dict.fromkeys([*self._events, *came])  # one may have come both ways
        self._events = deque(sorted(seen, key=lambda one: one.at_ns), maxlen=_KEPT_EVENTS)

    async def close(self) -> None:
        self._figures.close()
        if self._subscription is not None:
            await self._subscription.close()
        await self._mirrors.close()

    def _event(self, message: Message) -> None:
        try:
            event: Event = whole_event_in(message.subject, message.data)
        except (BadRequest, *UNREADABLE):  # an application's, which is no whole one
            return
        if event.event != JOB_PROGRESS:
            self._events.append(event_row(event))

    async def look(self) -> Scene:
        """The mesh as it is now; never raises for what does not answer."""
        status = whole_status(self._mirrors)
        notes = list[str]()
        figures: dict[Key, Buckets] = {}
        if self._bus.connected:
            self._seen_s = time.monotonic()
            services = {one.service for one in status.services}
            names = [entry.spec.stream for entry in status.streams] if "capture" in services else []
            stats, sessions, jobs, figures = await asyncio.gather(
                asyncio.gather(*map(self._stats_of, names)),
                self._viewers() if "webrtc-gateway" in services else _nothing(),
                self._list_jobs() if "frame-extractor" in services else _nothing(),
                self._figures.look(status.services),
            )
            self._stats = {one.stream: one for one in stats if one is not None}
            self._sessions, self._jobs = sessions or (), jobs or ()
            if silent := [name for name in names if name not in self._stats]:
                notes.append(f"no figures of {', '.join(silent[:5])}: their owner does not answer")
            if self._figures.missing:
                notes.append(f"metrics cannot be read of {', '.join(sorted(self._figures.missing)[:5])}")
        return self._scene(status, figures, tuple(notes))

    def _scene(self, status: WholeStatus, figures: dict[Key, Buckets], notes: tuple[str, ...]) -> Scene:
        watching = Counter(one.stream for one in self._sessions)
        now_s = time.time()
        return Scene(
            at_ns=time.time_ns(),
            server=shown_servers(self._bus.url),
            connected=self._bus.connected,
            away_s=0.0 if self._bus.connected else round(time.monotonic() - self._seen_s, 1),
            services=tuple(
                service_row(one, quantile_ms(figures.get(("lag", one.instance)), 0.99), now_s)
                for one in status.services
            ),
            streams=tuple(
                stream_row(
                    entry,
                    status,
                    self._stats.get(entry.spec.stream),
                    {
                        kind: quantile_ms(figures.get((kind, entry.spec.stream)), 0.5)
                        for kind in ("ring", "encoded", "sent")
                    },
                    watching[entry.spec.stream],
                    self._seen_ms(entry.spec.stream),
                )
                for entry in status.streams
            ),
            work=tuple(work_rows(status, self._jobs)),
            events=tuple(self._events),
            notes=notes,
        )

    def _seen_ms(self, stream: str) -> float | None:
        told = sorted(one.latency_ms for one in self._sessions if one.stream == stream and one.latency_ms is not None)
        return told[len(told) // 2] if told else None

    async def _stats_of(self, stream: str) -> StreamStats | None:
        async with self._asking:
            return await self._ask(command("capture", "stats", stream), StatsRequest(), StreamStats)

    async def _viewers(self) -> tuple[SessionInfo, ...] | None:
        with contextlib.suppress(MeshError):
            return (await self._gateways.sessions(ListSessions())).sessions
        return None

    async def _list_jobs(self) -> tuple[Job, ...] | None:
        listed = await self._ask(command("frame-extractor", "list"), ListJobs(limit=_SHOWN_JOBS), JobList)
        return listed.jobs if listed is not None else None

    async def _ask(self, subject: str, request: msgspec.Struct, reply: type[Reply]) -> Reply | None:
        with contextlib.suppress(MeshError):
            return await self._bus.request(subject, request, reply, _ASK_SECONDS)
        return None


async def _nothing() -> None:
    """Of a service that is not there."""

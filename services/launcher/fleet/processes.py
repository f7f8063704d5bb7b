"""The services of a node as processes of the launcher."""

import asyncio
import importlib.util
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from schemas.errors import InternalError, MeshError, NotFound, Unavailable, error_from_code
from schemas.fleet import Backend, FleetMember, LogLine, LogLines, MemberState, ReadLogs
from schemas.resources import Presence
from schemas.service_table import BY_NAME, SERVICE_TABLE
from services.launcher.child import Child
from services.launcher.fleet.interface import check_scale, check_service
from services.launcher.fleet.log_text import bounded, number_of, read_cursor, write_cursor
from services.launcher.fleet.turn import Turn
from services.launcher.ports import free_port
from services.launcher.starting import Start
from shared.healthcheck import trouble
from shared.process_figures import ProcessFigures, ProcessWatch
from shared.tasks import end_tasks

# A mesh does without those whose extra is not installed.
SERVICES: Final = {
    entry.name: entry.module
    for entry in SERVICE_TABLE
    if not entry.needs or importlib.util.find_spec(entry.needs) is not None
}
_HEALTH_SECONDS: Final = 1.0  # who asks what runs shall not wait for one that hangs
Key = tuple[str, int]


class ProcessFleet:
    """Owns the children. Belongs to the event loop; see `interface.Fleet` for what its methods raise."""

    backend: Backend = "processes"

    def __init__(self, node: str, bind: str, environment: Mapping[str, str], how: Callable[[str], Start]) -> None:
        """`how`: how a service of that module is started."""
        self._node, self._bind, self._environment, self._how = node, bind, environment, how
        self._children: dict[Key, Child] = {}
        self._present: dict[Key, Presence] = {}
        self._watches: dict[int, ProcessWatch] = {}
        self._turn = Turn()
        self._closing = False

    async def up(self, timeout_seconds: float) -> dict[str, Presence]:
        """Start one of each service, all at once, and wait for all; what they say of themselves.

        Raises:
            MeshError: one cannot start; says why in its own words.
        """
        children = [self._make(service, 1) for service in SERVICES]
        await self._ready(children, timeout_seconds)
        return {service: self._present[service, 1] for service in SERVICES}

    async def members(self, service: str | None = None) -> list[FleetMember]:
        if service is not None:
            self._of(service)
        keys = sorted(
            (key for key in self._children if service in (None, key[0])), key=lambda key: (_RANK[key[0]], key[1])
        )
        checks = {key: asyncio.create_task(self._trouble(key)) for key in keys}
        await asyncio.wait(checks.values(), timeout=_HEALTH_SECONDS)
        found = []
        for key, check in checks.items():
            answered = check.done() and not check.cancelled()
            check.cancel()
            found.append(self._member(key, check.result() if answered else f"no answer within {_HEALTH_SECONDS:g} s"))
        return found

    async def scale(self, service: str, instances: int, wait_seconds: float) -> None:
        check_scale(service, instances)
        with self._turn.take(f"scale {service}"):
            self._of(service)
            extra = [key for key in self._children if key[0] == service and key[1] > max(instances, 1)]
            await asyncio.gather(*(self._children[key].stop() for key in extra))
            for key in extra:
                self._forget(key)
            if instances == 0:
                await self._children[service, 1].stop()
            await self._start([(service, number) for number in range(1, instances + 1)], wait_seconds)

    async def start(self, service: str | None, wait_seconds: float) -> None:
        with self._turn.take("start"):
            keys = self._of(service) if service is not None else list(self._children)
            await self._start(keys, wait_seconds)

    async def restart(self, service: str, instance: int | None, wait_seconds: float) -> None:
        with self._turn.take(f"restart {service}"):
            for key in self._of(service, instance):
                child = self._children[key]
                if _is_down(child):
                    child = self._make(*key)
                else:
                    await child.restart()
                await self._ready([child], wait_seconds)

    async def stop(self, service: str | None, instance: int | None) -> None:
        with self._turn.take("stop"):
            keys = self._of(service, instance) if service is not None else list(self._children)
            await asyncio.gather(*(self._children[key].stop() for key in keys))

    async def logs(self, request: ReadLogs) -> LogLines:
        keys = self._of(request.service, request.instance)
        places = read_cursor(request.after)
        if request.after and request.wait_s and not any(self._lines(key, places) for key in keys):
            spoke = [asyncio.ensure_future(self._children[key].spoke.wait()) for key in keys]
            await asyncio.wait(spoke, timeout=request.wait_s, return_when=asyncio.FIRST_COMPLETED)
            await end_tasks(*spoke)
        lines = [
            LogLine(instance=key[1], text=text)
            for key in keys
            for text in (self._lines(key, places) if request.after else self._tail(key, request.tail))
        ]
        told = {key[1]: str(self._children[key].lines_told) for key in keys if key in self._children}
        return bounded(request.service, lines, write_cursor(told))

    async def close(self) -> None:
        """All at once: each drains what it has."""
        self._closing = True
        await asyncio.gather(*(child.stop() for child in self._children.values()))

    # -- children --------------------------------------------------------------------------------------------

    def _of(self, service: str, instance: int | None = None) -> list[Key]:
        """Raises: InvalidValue, NotFound: there is none."""
        check_service(service)
        keys = sorted(key for key in self._children if key[0] == service and instance in (None, key[1]))
        if not keys:
            what = service if instance is None else f"instance {instance} of {service}"
            raise NotFound(f"{what} does not run on node {self._node}; fleet ps shows what does")
        return keys

    def _make(self, service: str, number: int) -> Child:
        """Start one; it takes the place of an earlier one of that number, which has ended."""
        if self._closing:
            raise Unavailable("the mesh is ending")
        entry, environment = BY_NAME[service], dict(self._environment)
        if entry.most_instances > 1:
            environment[f"{entry.environment_prefix}INSTANCE"] = str(number)
        if number > 1:  # on one machine ports are there once
            for name, port in (("METRICS_PORT", entry.metrics_port), ("HTTP_PORT", entry.http_port)):
                if port:
                    environment[f"{entry.environment_prefix}{name}"] = str(free_port(self._bind, socket.SOCK_STREAM))
        child = self._children[service, number] = Child(
            service if number == 1 else f"{service}-{number}",
            self._how(SERVICES[service]),
            environment,
            on_ready=lambda line: self._told(service, number, line),
        )
        child.start()
        return child

    def _told(self, service: str, number: int, line: bytes) -> None:
        self._present[service, number] = msgspec.json.decode(line, type=Presence)

    def _forget(self, key: Key) -> None:
        del self._children[key]
        self._present.pop(key, None)

    async def _start(self, keys: Iterable[Key], wait_seconds: float) -> None:
        """Those of `keys` that do not run; one that cannot start and was not there before is forgotten again."""
        down = [key for key in keys if key not in self._children or _is_down(self._children[key])]
        new = [key for key in down if key not in self._children]
        children = [self._make(*key) for key in down]
        try:
            await self._ready(children, wait_seconds)
        except MeshError:
            for key in new:
                if self._children[key].failed:
                    self._forget(key)
            raise

    async def _ready(self, children: Iterable[Child], wait_seconds: float) -> None:
        """Wait for all; not at all where there is no time for it."""
        children = list(children)
        if not wait_seconds or not children:
            return
        ready = [asyncio.ensure_future(child.ready.wait()) for child in children]
        everyone: asyncio.Future[Any] = asyncio.gather(*ready)
        failures: list[asyncio.Future[Any]] = [child.exited_at_start for child in children]
        first = asyncio.FIRST_COMPLETED
        try:
            done, _ = await asyncio.wait({everyone, *failures}, timeout=wait_seconds, return_when=first)
        finally:  # also where a signal ends the start
            everyone.cancel()
            await asyncio.gather(everyone, *ready, return_exceptions=True)
        for child in children:
            if child.failed:
                code, text = child.refusal or (InternalError.code, child.last_lines[-1] if child.last_lines else "?")
                raise error_from_code(code, f"{child.name} could not start: {text}")
        if not done:
            missing = ", ".join(sorted(child.name for child in children if not child.ready.is_set()))
            raise Unavailable(f"not ready within {wait_seconds:g} s: {missing}")

    # -- how one is ------------------------------------------------------------------------------------------

    def _member(self, key: Key, wrong: str) -> FleetMember:
        child, presence = self._children[key], self._present.get(key)
        state, pid = _state(child), child.pid or 0
        if state != "running":
            wrong = child.refusal[1] if child.refusal and child.failed else ""
        cpu_percent, rss_bytes = self._figures(pid, child)
        return FleetMember(
            service=key[0],
            instance=key[1],
            node=self._node,
            backend="processes",
            state=state,
            health="unknown" if state != "running" else "not-ready" if wrong else "ready",
            detail=wrong,
            pid=pid,
            version=presence.version if presence else "",
            started_ns=child.started_ns,
            restarts=child.restarts,
            cpu_percent=cpu_percent,
            rss_bytes=rss_bytes,
        )

    def _figures(self, pid: int, child: Child) -> ProcessFigures:
        alive = {one.pid for one in self._children.values()}
        self._watches = {number: watch for number, watch in self._watches.items() if number in alive}
        if not pid:
            return ProcessFigures(0.0, 0)
        if (watch := self._watches.get(pid)) is not None:
            return watch.look()
        watch = self._watches[pid] = ProcessWatch(pid)
        lived_seconds = max(time.time_ns() - child.started_ns, 1) / 1e9
        return ProcessFigures(round(100 * watch.cpu_seconds / lived_seconds, 1), watch.rss_bytes)

    async def _trouble(self, key: Key) -> str:
        """Why it is not ready; in a thread of its own deadline."""
        presence = self._present.get(key)
        if presence is None or _state(self._children[key]) != "running":
            return ""
        address = urlsplit(presence.metrics_url)
        return await asyncio.to_thread(trouble, address.hostname or "", address.port or 0, ready=True)

    def _tail(self, key: Key, count: int) -> list[str]:
        kept = self._children[key].last_lines
        return list(kept)[max(0, len(kept) - count) :]

    def _lines(self, key: Key, places: Mapping[int, str]) -> list[str]:
        """What it has said since; all that is kept where it has been started anew."""
        child = self._children.get(key)
        if child is None:
            return []
        before = number_of(places.get(key[1], "0"))
        return self._tail(key, child.lines_told - before if before <= child.lines_told else child.lines_told)


_RANK: Final = {service: rank for rank, service in enumerate(BY_NAME)}


def _is_down(child: Child) -> bool:
    return child.stopped or child.failed


def _state(child: Child) -> MemberState:
    if child.stopped:
        return "stopped"
    if child.failed:
        return "failed"
    if child.pid is None:
        return "restarting"
    return "running" if child.ready.is_set() else "starting"

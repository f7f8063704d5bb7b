"""The services of a node as containers of one compose project, found by compose's labels."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from schemas.errors import MeshError, NotFound, Unavailable
from schemas.fleet import MAX_LOG_LINES, Backend, FleetMember, LogLine, LogLines, ReadLogs
from schemas.service_table import BY_NAME
from services.launcher.fleet.compose_containers import (
    PROJECT,
    SERVICE,
    Found,
    check_shares,
    is_of_service,
    project_of,
    replica,
)
from services.launcher.fleet.container_figures import ContainerFigures, ContainerWatch, time_ns
from services.launcher.fleet.docker_calls import LOOK_SECONDS, Docker
from services.launcher.fleet.interface import check_scale, check_service
from services.launcher.fleet.log_text import bounded, number_of, read_cursor, write_cursor
from services.launcher.fleet.turn import Turn

_END_SECONDS: Final = 12  # services take 8 to end in order; then Docker kills them
_READY_LOOK_SECONDS: Final = 0.5  # Docker tells of health only as often as it checks it, every 10 s
_LOG_LOOK_SECONDS: Final = 0.5  # Docker passes lines on only to a connection of their own
_DETAIL_CHARACTERS: Final = 300  # a line or two
_RANK: Final = {service: rank for rank, service in enumerate(BY_NAME)}


class ContainerFleet:
    """Owns nothing: what compose made goes on without it. See `interface.Fleet` for what its methods raise."""

    backend: Backend = "containers"

    def __init__(self, node: str, project: str = "") -> None:
        """`project`: of compose; empty: the only one there is."""
        self._node, self._wish = node, project
        self._docker = Docker()
        self._watch = ContainerWatch()
        self._turn = Turn()

    async def members(self, service: str | None = None) -> list[FleetMember]:
        found = await self._all(service)
        if service is None:
            self._watch.keep_only(one.id for one in found)
        return list(await asyncio.gather(*map(self._member, found)))

    async def scale(self, service: str, instances: int, wait_seconds: float) -> None:
        check_scale(service, instances)
        with self._turn.take(f"scale {service}"):
            found = await self._all(service)
            if instances > 1:
                check_shares(found[0])
            kept, extra = found[: max(instances, 1)], found[max(instances, 1) :]
            await self._stop([*extra, *(kept if instances == 0 else [])])
            await asyncio.gather(*(self._call(lambda api, one=one: api.remove_container(one.id)) for one in extra))
            if instances == 0:
                return
            used = {one.number for one in kept}
            free = (number for number in range(1, instances + len(used) + 1) if number not in used)
            made = [await self._make(found[0], next(free)) for _ in range(instances - len(kept))]
            await self._start([*kept, *made], wait_seconds, new=made)

    async def start(self, service: str | None, wait_seconds: float) -> None:
        with self._turn.take("start"):
            await self._start(await self._all(service), wait_seconds)

    async def restart(self, service: str, instance: int | None, wait_seconds: float) -> None:
        with self._turn.take(f"restart {service}"):
            for one in await self._all(service, instance):
                await self._call(
                    lambda api, one=one: api.restart(one.id, timeout=_END_SECONDS), LOOK_SECONDS + _END_SECONDS
                )
                await self._ready([one.id], wait_seconds)

    async def stop(self, service: str | None, instance: int | None) -> None:
        with self._turn.take("stop"):
            await self._stop(await self._all(service, instance))

    async def logs(self, request: ReadLogs) -> LogLines:
        found = await self._all(request.service, request.instance)
        places = {number: number_of(place) for number, place in read_cursor(request.after).items()}
        deadline = time.monotonic() + (request.wait_s if request.after else 0.0)
        while True:
            told = await asyncio.gather(*(self._lines(one, request, places.get(one.number)) for one in found))
            if any(told) or time.monotonic() + _LOG_LOOK_SECONDS > deadline:
                break
            await asyncio.sleep(_LOG_LOOK_SECONDS)
        lines = [
            LogLine(instance=one.number, text=text) for one, own in zip(found, told, strict=True) for _, text in own
        ]
        following = {
            one.number: str(own[-1][0] if own else places.get(one.number) or 0)
            for one, own in zip(found, told, strict=True)
        }
        return bounded(request.service, lines, write_cursor(following))

    async def close(self) -> None:
        self._docker.close()

    # -- containers ------------------------------------------------------------------------------------------

    async def _all(self, service: str | None, instance: int | None = None) -> list[Found]:
        """By service and number. Raises: InvalidValue, NotFound: there is none."""
        if service is not None:
            check_service(service)
        label = [SERVICE] if service is None else [f"{SERVICE}={service}"]
        listed: list[dict[str, Any]] = await self._call(
            lambda api: api.containers(all=True, filters={"label": [PROJECT]})
        )
        project = project_of(listed, self._wish)
        wanted = [f"{PROJECT}={project}", *label]
        listed = await self._call(lambda api: api.containers(all=True, filters={"label": wanted}))
        ids = [one["Id"] for one in listed if is_of_service(one)]
        inspected = await asyncio.gather(*map(self._inspect, ids))
        found = [one for one in inspected if one is not None and instance in (None, one.number)]
        if not found and service is not None:
            what = service if instance is None else f"instance {instance} of {service}"
            raise NotFound(
                f"{what} has no container in compose project {project}; fleet ps shows what has one, "
                f"docker compose up -d {service} makes one"
            )
        return sorted(found, key=lambda one: (_RANK[one.service], one.number, one.name))

    async def _inspect(self, container: str) -> Found | None:
        """None: it has been removed meanwhile."""
        try:
            return Found(await self._call(lambda api: api.inspect_container(container)))
        except NotFound:
            return None

    async def _make(self, model: Found, number: int) -> Found:
        name, config, networks = replica(model, number)
        first = dict(list(networks.items())[:1])  # more than one at once only newer engines take
        config["NetworkingConfig"] = {"EndpointsConfig": first}
        made: dict[str, Any] = await self._call(lambda api: api.create_container_from_config(config, name))
        container = str(made["Id"])
        for network, endpoint in list(networks.items())[1:]:
            aliases = endpoint["Aliases"]
            await self._call(
                lambda api, n=network, a=aliases: api.connect_container_to_network(container, n, aliases=a)
            )
        found = await self._inspect(container)
        if found is None:
            raise NotFound(f"container {name} was removed by somebody else")
        return found

    async def _start(self, found: list[Found], wait_seconds: float, new: Iterable[Found] = ()) -> None:
        """Those that do not run; new ones that cannot are removed again."""
        down = [one for one in found if not one.running]
        try:
            await asyncio.gather(*(self._call(lambda api, one=one: api.start(one.id)) for one in down))
            await self._ready([one.id for one in down], wait_seconds)
        except MeshError:
            for one in new:
                now = await self._inspect(one.id)
                if now is not None and not now.running:
                    await self._call(lambda api, one=one: api.remove_container(one.id, force=True))
            raise

    async def _stop(self, found: list[Found]) -> None:
        seconds = LOOK_SECONDS + _END_SECONDS
        running = [one for one in found if one.running or one.state == "restarting"]
        await asyncio.gather(
            *(self._call(lambda api, one=one: api.stop(one.id, timeout=_END_SECONDS), seconds) for one in running)
        )

    async def _ready(self, containers: list[str], wait_seconds: float) -> None:
        """Wait until the health checks of all say well; not at all where there is no time for it."""
        deadline = time.monotonic() + wait_seconds
        waiting = containers if wait_seconds else []
        while waiting:
            looked = await asyncio.gather(*map(self._look, waiting))
            waiting = [one for one, ready in zip(waiting, looked, strict=True) if not ready]
            if not waiting:
                return
            if time.monotonic() > deadline:
                found = await asyncio.gather(*map(self._inspect, waiting))
                names = ", ".join(f"{one.name} ({one.trouble or one.state})" for one in found if one is not None)
                raise Unavailable(f"not ready within {wait_seconds:g} s: {names}; framemesh fleet logs shows why")
            await asyncio.sleep(_READY_LOOK_SECONDS)

    async def _look(self, container: str) -> bool:
        """Whether it is ready, by its own health check run now. Raises: NotFound: it has gone; Unavailable: ended."""
        found = await self._inspect(container)
        if found is None:
            raise NotFound(f"container {container[:12]} was removed by somebody else")
        if found.state == "stopped":
            last = await self._lines(found, ReadLogs(service=found.service, tail=1), None)
            raise Unavailable(f"{found.name} could not start: {last[-1][1] if last else found.trouble}")
        if not found.running or found.state == "restarting":
            return False
        return await self._well(found)

    async def _well(self, found: Found) -> bool:
        """Whether its own health check, run now, is content; of a container without one as soon as it runs."""
        if not (command := found.health_check):
            return True

        def check(api: Any) -> bool:
            run = api.exec_create(found.id, command, stdout=True, stderr=True)
            api.exec_start(run["Id"])
            return bool(api.exec_inspect(run["Id"])["ExitCode"] == 0)

        try:
            well: bool = await self._call(check)
        except (MeshError, ValueError):  # it is starting, or has just ended: the next look tells
            return False
        return well

    # -- how one is ------------------------------------------------------------------------------------------

    async def _member(self, one: Found) -> FleetMember:
        state, health, now = one.inspected["State"], one.health, one.state
        if one.starting:  # Docker has not looked at it yet
            now, health = ("running", "ready") if await self._well(one) else ("starting", "not-ready")
        started_ns = time_ns(state.get("StartedAt", "")) if one.running else 0
        figures = ContainerFigures(0.0, 0)
        if one.running:
            try:
                stats = await self._call(lambda api: api.stats(one.id, stream=False, one_shot=True))
                figures = self._watch.look(one.id, stats, started_ns)
            except MeshError:  # it has ended, or its counters cannot be read: it is shown without them
                pass
        return FleetMember(
            service=one.service,
            instance=one.number,
            node=self._node,
            backend="containers",
            state=now,
            health=health,
            detail="" if health == "ready" else one.trouble[:_DETAIL_CHARACTERS],
            pid=int(state.get("Pid") or 0),
            container=one.name,
            hostname=str(one.inspected["Config"].get("Hostname", "")),
            image=str(one.inspected["Config"].get("Image", "")),
            version=one.version,
            started_ns=started_ns,
            restarts=int(one.inspected.get("RestartCount") or 0),
            cpu_percent=figures.cpu_percent,
            rss_bytes=figures.rss_bytes,
        )

    async def _lines(self, one: Found, request: ReadLogs, after_ns: int | None) -> list[tuple[int, str]]:
        """Times and texts."""
        since = after_ns // 10**9 if after_ns is not None else None
        tail = MAX_LOG_LINES if after_ns is not None else request.tail
        if not tail:
            return []
        data: bytes = await self._call(lambda api: api.logs(one.id, timestamps=True, tail=tail, since=since))
        lines = (line.partition(" ") for line in data.decode(errors="replace").splitlines())
        told = [(time_ns(at), text) for at, _, text in lines]
        return [line for line in told if after_ns is None or line[0] > after_ns]

    async def _call(self, work: Any, seconds: float = LOOK_SECONDS) -> Any:
        return await self._docker.call(work, seconds)

"""The fleet on the bus: a micro service with the node's name in its subjects, and events of who changed what."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from schemas.errors import InvalidValue, MeshError
from schemas.events import Event
from schemas.fleet import (
    FleetList,
    ListFleet,
    LogLines,
    ReadLogs,
    RestartService,
    ScaleService,
    StartService,
    StopService,
)
from schemas.subjects import command
from services.launcher.fleet.interface import Fleet, check_scale, check_service
from shared.bus import Bus, Endpoint, Served
from shared.service import VERSION

SERVICE: Final = "fleet"


class FleetService:
    """Answers for one node, whatever hangs there: changes take turns, looks do not wait for them."""

    def __init__(self, node: str, fleet: Fleet, tell: Callable[[Event], None]) -> None:
        """`tell`: what is done with an event of a change."""
        self._node, self._fleet, self._tell = node, fleet, tell

    @classmethod
    async def serve(cls, bus: Bus, node: str, fleet: Fleet) -> Served:
        """Answer from now on, until what is returned is closed."""
        metadata = {"node": node, "backend": fleet.backend}
        service = cls(node, fleet, bus.post_event)
        return await bus.serve(SERVICE, VERSION, "What runs on a node.", service._endpoints(), metadata)

    def _endpoints(self) -> list[Endpoint]:
        def subject(verb: str) -> str:
            return command(SERVICE, verb, self._node)

        return [
            Endpoint(subject("ps"), ListFleet, FleetList, self.ps),
            Endpoint(subject("scale"), ScaleService, FleetList, self.scale),
            Endpoint(subject("restart"), RestartService, FleetList, self.restart),
            Endpoint(subject("start"), StartService, FleetList, self.start),
            Endpoint(subject("stop"), StopService, FleetList, self.stop),
            Endpoint(subject("logs"), ReadLogs, LogLines, self.logs),
        ]

    async def ps(self, request: ListFleet) -> FleetList:
        """What runs here.

        Raises:
            InvalidValue: no such service.
            NotFound: it does not run here.
        """
        if request.service is not None:
            check_service(request.service)
        return FleetList(
            node=self._node,
            backend=self._fleet.backend,
            members=tuple(await self._fleet.members(request.service)),
            at_ns=time.time_ns(),
        )

    async def scale(self, request: ScaleService) -> FleetList:
        """Raises: InvalidValue: not so many of this service on one node; see `Fleet` for the rest."""
        check_scale(request.service, request.instances)
        work = self._fleet.scale(request.service, request.instances, request.wait_s)
        return await self._change("scaled", work, request.by, service=request.service, instances=request.instances)

    async def restart(self, request: RestartService) -> FleetList:
        """Raises: see `Fleet`."""
        check_service(request.service)
        work = self._fleet.restart(request.service, request.instance, request.wait_s)
        return await self._change("restarted", work, request.by, service=request.service, instance=request.instance)

    async def start(self, request: StartService) -> FleetList:
        """Raises: see `Fleet`."""
        if request.service is not None:
            check_service(request.service)
        work = self._fleet.start(request.service, request.wait_s)
        return await self._change("started", work, request.by, service=request.service)

    async def stop(self, request: StopService) -> FleetList:
        """Raises: InvalidValue: neither a service nor `all`, or both; see `Fleet` for the rest."""
        if (request.service is None) is not request.all:
            raise InvalidValue("service", request.service, 'name one, or say "all": true for every service of the node')
        if request.all and request.instance is not None:
            raise InvalidValue("instance", request.instance, "it is of one service; leave it out with all")
        if request.service is not None:
            check_service(request.service)
        work = self._fleet.stop(request.service, request.instance)
        return await self._change("stopped", work, request.by, service=request.service, instance=request.instance)

    async def logs(self, request: ReadLogs) -> LogLines:
        """Raises: InvalidValue: no such service, or `after` is not of an earlier reply; NotFound: it does not run."""
        check_service(request.service)
        return await self._fleet.logs(request)

    async def _change(self, event: str, work: Awaitable[None], by: str, **what: Any) -> FleetList:
        """Do it, and tell of it, also where it failed half-way."""
        error: MeshError | None = None
        try:
            await work
        except MeshError as failed:
            error = failed
        detail = {name: value for name, value in {**what, "by": by}.items() if value not in (None, "")}
        self._tell(
            Event(
                service=SERVICE,
                id=self._node,
                event=event,
                node=self._node,
                at_ns=time.time_ns(),
                error=error.info if error else None,
                detail=detail,
            )
        )
        if error is not None:
            raise error
        return await self.ps(ListFleet(service=what["service"]))

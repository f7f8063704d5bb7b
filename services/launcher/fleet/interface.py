"""What a back end of the fleet can do."""

from typing import Protocol

from schemas.errors import InvalidValue
from schemas.fleet import Backend, FleetMember, LogLines, ReadLogs
from schemas.service_table import BY_NAME


class Fleet(Protocol):
    """The instances of the services on one node. Methods may run side by side and must not block the event loop.

    All raise: InvalidValue: no such service; NotFound: it, or that instance, does not run here; Conflict: another
    change is under way; Unavailable: what starts and ends them does not answer, or what was started is not ready in
    time; and of a service that cannot start its own error.
    """

    backend: Backend

    async def members(self, service: str | None = None) -> list[FleetMember]:
        """Those that run, and those that have been stopped; by service and number."""
        ...

    async def scale(self, service: str, instances: int, wait_seconds: float) -> None:
        """Run so many of a service: more are started and waited for, those with the highest numbers are ended."""
        ...

    async def start(self, service: str | None, wait_seconds: float) -> None:
        """Start what has been stopped; None: of all services."""
        ...

    async def restart(self, service: str, instance: int | None, wait_seconds: float) -> None:
        """End and start one instance, or all of them one after the other. Starts one that was stopped."""
        ...

    async def stop(self, service: str | None, instance: int | None) -> None:
        """End an instance, all of a service, or all of all; they stay stopped."""
        ...

    async def logs(self, request: ReadLogs) -> LogLines:
        """Last lines, or those since an earlier reply."""
        ...

    async def close(self) -> None:
        """Let go of what this holds; of processes: end them."""
        ...


def check_service(service: str) -> None:
    """Raises: InvalidValue: there is no such service."""
    if service not in BY_NAME:
        raise InvalidValue("service", service, f"there are {', '.join(BY_NAME)}")


def check_scale(service: str, instances: int) -> None:
    """Raises: InvalidValue: no such service, or not so many of it on one node."""
    check_service(service)
    most = BY_NAME[service].most_instances
    if instances <= most:
        return
    if most == 1:
        shared = ", ".join(entry.name for entry in BY_NAME.values() if entry.most_instances > 1)
        raise InvalidValue("instances", instances, f"{service} runs once on a node; {shared} share a node's work")
    raise InvalidValue("instances", instances, f"at most {most} of {service} share a node's work")

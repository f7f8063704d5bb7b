"""The processes or containers of a node: what runs, how many of each service, their last words."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.ids import Id

MAX_LOG_LINES = 1000
"""In one reply, and of each process; what is older is with whoever keeps logs."""
MAX_INSTANCES = 64
_MAX_BY_CHARACTERS = 128

Backend = Literal["processes", "containers"]
MemberState = Literal["starting", "running", "restarting", "stopped", "failed"]
MemberHealth = Literal["ready", "not-ready", "unknown"]
By = Annotated[str, Meta(max_length=_MAX_BY_CHARACTERS, description="who asks, as the event shall say it")]
InstanceNumber = Annotated[int, Meta(ge=1, le=10_000)]
ChangeWaitSeconds = Annotated[float, Meta(ge=0, le=60, description="how long to wait for what is started")]
DEFAULT_CHANGE_WAIT_SECONDS = 20.0


class FleetMember(Struct, frozen=True, kw_only=True):
    """One process or container of a service."""

    service: Id
    instance: int
    """From 1 on; of containers the number that compose gave it."""
    node: Id
    backend: Backend
    state: MemberState
    """`failed`: it could not start, and is not tried again."""
    health: MemberHealth = "unknown"
    detail: str = ""
    """Why it is not ready, or has failed."""
    pid: int = 0
    """On the host; 0: it does not run."""
    container: str = ""
    """Name of the container."""
    hostname: str = ""
    """Of the container, as the presence of its service has it."""
    image: str = ""
    version: str = ""
    """Of framemesh; empty: it has not said."""
    started_ns: int = 0
    """CLOCK_REALTIME, of its last start."""
    restarts: int = 0
    cpu_percent: float = 0.0
    """Of one core, since the look before, or since its start."""
    rss_bytes: int = 0


class FleetList(Struct, frozen=True, kw_only=True):
    """What a node runs, by service and number."""

    node: Id
    backend: Backend
    members: tuple[FleetMember, ...] = ()
    at_ns: int = 0


class ListFleet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fleet.<node>.ps"""

    service: Id | None = None


class ScaleService(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fleet.<node>.scale: run so many instances of a service; 0 stops it."""

    service: Id
    instances: Annotated[int, Meta(ge=0, le=MAX_INSTANCES)]
    by: By = ""
    wait_s: ChangeWaitSeconds = DEFAULT_CHANGE_WAIT_SECONDS


class RestartService(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fleet.<node>.restart: all instances of a service, one after the other, or one."""

    service: Id
    instance: InstanceNumber | None = None
    by: By = ""
    wait_s: ChangeWaitSeconds = DEFAULT_CHANGE_WAIT_SECONDS


class StartService(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fleet.<node>.start: what has been stopped, of one service or of all."""

    service: Id | None = None
    by: By = ""
    wait_s: ChangeWaitSeconds = DEFAULT_CHANGE_WAIT_SECONDS


class StopService(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fleet.<node>.stop: one service, one instance of it, or with `all` every service; they stay stopped."""

    service: Id | None = None
    instance: InstanceNumber | None = None
    all: bool = False
    by: By = ""


class ReadLogs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fleet.<node>.logs: the last lines of a service, or what came after an earlier reply."""

    service: Id
    instance: InstanceNumber | None = None
    tail: Annotated[int, Meta(ge=0, le=MAX_LOG_LINES)] = 100
    """Of each instance."""
    after: Annotated[str, Meta(max_length=4096)] = ""
    """`next` of an earlier reply: only lines since then, instead of `tail`."""
    wait_s: Annotated[float, Meta(ge=0, le=30, description="with `after`: how long to wait for a line")] = 0.0


class LogLine(Struct, frozen=True, kw_only=True):
    """One line that a process wrote."""

    instance: int
    text: str


class LogLines(Struct, frozen=True, kw_only=True):
    """Lines of each instance in their order, one instance after the other."""

    service: Id
    lines: tuple[LogLine, ...] = ()
    next: str = ""
    """Give it back as `after`."""
    left_out: int = 0
    """Lines that there was no room for in this reply."""

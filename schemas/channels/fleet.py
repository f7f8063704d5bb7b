"""Commands of who runs the processes of a node."""

from msgspec import Struct

from schemas import subjects
from schemas.channel import Channel, Party
from schemas.channels.building import PLACEHOLDER, named
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


def _command(
    verb: str, request: type[Struct], reply: type[Struct], callers: tuple[Party, ...], summary: str
) -> Channel:
    """Of who runs the processes of a node, for those who operate it: nobody calls it over HTTP, and no rule does."""
    return Channel(
        name=f"fleet.{verb}",
        address=named(subjects.command("fleet", verb, PLACEHOLDER.format("node"))),
        semantics="request-reply",
        payload=request,
        reply=reply,
        senders=callers,
        receivers=("fleet",),
        summary=summary,
    )


COMMANDS = (
    _command("ps", ListFleet, FleetList, ("cli", "console"), "What a node runs."),
    _command("scale", ScaleService, FleetList, ("cli",), "Run so many instances of a service."),
    _command("restart", RestartService, FleetList, ("cli",), "End instances of a service and start them again."),
    _command("start", StartService, FleetList, ("cli",), "Start what has been stopped."),
    _command("stop", StopService, FleetList, ("cli",), "Stop a service, an instance of it, or all."),
    _command("logs", ReadLogs, LogLines, ("cli", "console"), "The last lines of a service, and what comes then."),
)

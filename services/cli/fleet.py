"""The processes or containers of the mesh: what runs, how many of each service, restart, stop, logs.

examples:
  framemesh fleet ps                       what runs on each node
  framemesh fleet scale capture=4          four instances share the node's streams: one each of four cameras
  framemesh fleet restart capture-2        one instance; `capture` restarts all, one after the other
  framemesh fleet logs capture --tail 50 --follow
  framemesh fleet stop frame-extractor     until `framemesh fleet start frame-extractor`
  framemesh fleet stop --all
  framemesh fleet ps --docker              containers of compose, straight from Docker (--docker=PROJECT where several)

Containers are asked through the container `fleet` (docker compose --profile fleet up -d), or with --docker by whoever
may use Docker here; then no event tells who did what.
"""

import argparse
import asyncio
import getpass
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from schemas.errors import BadRequest, InvalidValue, MeshError, Unavailable
from schemas.fleet import (
    DEFAULT_CHANGE_WAIT_SECONDS,
    FleetList,
    ListFleet,
    LogLines,
    ReadLogs,
    RestartService,
    ScaleService,
    StartService,
    StopService,
)
from schemas.service_table import BY_NAME
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected
from services.cli.fleet_text import describe_fleet, describe_lines
from services.launcher.fleet.containers import ContainerFleet
from services.launcher.fleet.service import FleetService
from shared.bus import Bus, NobodyAnswers
from shared.settings import Settings, load_settings
from shared.state import StateMirrors

HELP = "processes or containers: ps, scale, restart, start, stop, logs"
_REPLY_SECONDS = 10.0  # a look at containers asks Docker for each
_CHANGE_SECONDS = 40.0  # on top of the wait: what hangs is given 10 s to end, and instances end one after the other
_FOLLOW_SECONDS = 20.0
_INSTANCE = re.compile(r"(.+)-(\d+)")

_ANY = 64
_MOST_BY_CHARACTERS = 128
_REQUESTS: dict[str, type[msgspec.Struct]] = {
    "ps": ListFleet,
    "scale": ScaleService,
    "restart": RestartService,
    "start": StartService,
    "stop": StopService,
    "logs": ReadLogs,
}

Ask = Callable[[str, msgspec.Struct, type[Any], float], Awaitable[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("ps", "scale", "restart", "start", "stop", "logs"))
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        help="capture, capture-2; of scale capture=4; of ps and start may be none",
    )
    parser.add_argument("--node", metavar="NODE", help="which; when left out all for ps, else the only one there is")
    parser.add_argument("--all", action="store_true", help="of stop: every service")
    parser.add_argument("--tail", type=int, default=100, metavar="LINES", help="of logs: of each instance (100)")
    parser.add_argument("--follow", "-f", action="store_true", help="of logs: go on with what comes")
    parser.add_argument(
        "--wait", type=float, default=DEFAULT_CHANGE_WAIT_SECONDS, metavar="SECONDS",
        help=f"for what is started to be ready ({DEFAULT_CHANGE_WAIT_SECONDS:g})",
    )  # fmt: skip
    parser.add_argument(
        "--docker",
        nargs="?",
        const="",
        metavar="PROJECT",
        help="ask Docker here, not the mesh; of this compose project",
    )
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    requests = _requests(options)
    if options.docker is not None:
        return await _straight(requests, options)
    async with connected(options) as bus:
        nodes = [options.node] if options.node else await _nodes(bus)
        if options.action == "ps":
            return await _ps(bus, nodes, requests[0], options)
        if len(nodes) > 1:
            raise BadRequest(f"--node missing: there are {', '.join(nodes)}; say which one")

        async def ask(verb: str, request: msgspec.Struct, reply: type[Any], seconds: float) -> Any:
            return await _ask(bus, verb, nodes[0], request, reply, seconds)

        if options.action == "logs":
            return await _logs(ask, requests[0], options)
        return await _change(ask, requests, options)


async def _ask(bus: Bus, verb: str, node: str, request: msgspec.Struct, reply: type[Any], seconds: float) -> Any:
    """Raises: Unavailable: nobody there answers for the node; MeshError: as the fleet says."""
    try:
        return await bus.request(command("fleet", verb, node), request, reply, seconds)
    except NobodyAnswers:
        raise Unavailable(
            f"nobody answers for the fleet of node {node}: framemesh up does for its own, in compose the container "
            "fleet does (docker compose --profile fleet up --detach fleet, see docs/fleet.md)"
        ) from None


async def _straight(requests: list[Any], options: argparse.Namespace) -> int:
    """By Docker of this machine."""
    node = options.node or load_settings(Settings, "cli").node
    fleet = ContainerFleet(node, options.docker)
    service = FleetService(node, fleet, lambda _: None)

    async def ask(verb: str, request: msgspec.Struct, _reply: type[Any], seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await getattr(service, verb)(request)
        except TimeoutError:
            raise Unavailable(f"{verb}: not done within {seconds:g} s") from None

    try:
        if options.action == "logs":
            return await _logs(ask, requests[0], options)
        return await _change(ask, requests, options)
    finally:
        await fleet.close()


async def _ps(bus: Bus, nodes: list[str], request: msgspec.Struct, options: argparse.Namespace) -> int:
    async def ask(node: str) -> FleetList | MeshError:
        try:
            answer: FleetList = await _ask(bus, "ps", node, request, FleetList, _REPLY_SECONDS)
            return answer
        except MeshError as error:
            return error

    answers = await asyncio.gather(*map(ask, nodes))
    lists = [answer for answer in answers if isinstance(answer, FleetList)]
    if not lists:  # so that one node's error is the command's
        raise next(answer for answer in answers if isinstance(answer, MeshError))
    print(msgspec.json.encode(lists).decode() if options.json else describe_fleet(lists))
    for node, answer in zip(nodes, answers, strict=True):
        if isinstance(answer, MeshError):
            print(f"{node}: {answer.message}", file=sys.stderr)
    return 0 if len(lists) == len(nodes) else 1


async def _change(ask: Ask, requests: list[msgspec.Struct], options: argparse.Namespace) -> int:
    """One after the other; the first that is refused ends it."""
    for request in requests:
        now = await ask(options.action, request, FleetList, options.wait + _CHANGE_SECONDS)
        print(msgspec.json.encode(now).decode() if options.json else describe_fleet([now]))
    return 0


async def _logs(ask: Ask, request: msgspec.Struct, options: argparse.Namespace) -> int:
    while True:
        told: LogLines = await ask("logs", request, LogLines, _FOLLOW_SECONDS + _REPLY_SECONDS)
        if told.left_out:
            print(f"{told.left_out} lines are left out: too long for one reply", file=sys.stderr)
        if options.json:
            for line in told.lines:
                print(msgspec.json.encode(line).decode())
        else:
            for text in describe_lines(told.service, told.lines):
                print(text)
        if not options.follow:
            return 0
        sys.stdout.flush()
        request = msgspec.structs.replace(request, after=told.next, wait_s=_FOLLOW_SECONDS)


def _requests(options: argparse.Namespace) -> list[msgspec.Struct]:
    """What is asked, in order.

    Raises:
        BadRequest: words that the action does not take.
    """
    action, services, wait = options.action, options.services, options.wait
    few, many = {"ps": (0, 1), "logs": (1, 1), "start": (0, _ANY), "stop": (0, _ANY)}.get(action, (1, _ANY))
    if options.all and action != "stop":
        raise BadRequest(f"--all: {action} does not take it")
    if (action == "stop" and bool(services) is options.all) or not few <= len(services) <= many:
        fixes = {"stop": "name a service, or say --all", "ps": "at most one", "logs": "exactly one"}
        raise BadRequest(f"SERVICE {' '.join(services)!r}: {fixes.get(action, 'name one')}; --help has examples")
    by = _by()
    given: list[dict[str, Any]]
    if action == "scale":
        given = [{**_scale(text), "by": by, "wait_s": wait} for text in services]
    elif action in ("ps", "start"):
        given = [{"service": text} for text in services] or [{}]
        given = [{**one, "by": by, "wait_s": wait} for one in given] if action == "start" else given
    elif action == "logs":
        given = [{**_instance(services[0]), "tail": options.tail}]
    elif action == "restart":
        given = [{**_instance(text), "by": by, "wait_s": wait} for text in services]
    else:
        given = [{**_instance(text), "by": by} for text in services] or [{"all": True, "by": by}]
    try:
        return [msgspec.convert(one, _REQUESTS[action]) for one in given]
    except msgspec.ValidationError as error:
        raise BadRequest(f"fleet {action}: {str(error).replace(' - at `$.', ', at `')}") from None


def _instance(text: str) -> dict[str, Any]:
    """`capture` or `capture-2`."""
    found = _INSTANCE.fullmatch(text)
    if found is not None and found[1] in BY_NAME:
        return {"service": found[1], "instance": int(found[2])}
    return {"service": text}


def _scale(text: str) -> dict[str, Any]:
    service, _, count = text.partition("=")
    if not count.isascii() or not count.isdigit():
        raise InvalidValue("SERVICE", text, "say how many, as in capture=4")
    return {"service": service, "instances": int(count)}


async def _nodes(bus: Bus) -> list[str]:
    """Those where services run; this one where none does, because all are stopped."""
    mirrors = await StateMirrors.open(bus)
    try:
        nodes = sorted({presence.node for presence in mirrors.present()})
    finally:
        await mirrors.close()
    return nodes or [load_settings(Settings, "cli").node]


def _by() -> str:
    """Who asks, for the event."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # of a container whose user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:_MOST_BY_CHARACTERS]

"""The running mesh as the doctor sees it: the server, who is present, what was asked for."""

import argparse
import asyncio
import os
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from schemas.channels import CHANNELS
from schemas.commands import MeshStatus
from schemas.errors import MeshError, Unavailable
from schemas.packets import UNREADABLE
from schemas.resources import Presence
from schemas.subjects import ACTUAL_BUCKET, DESIRED_BUCKET, EVENTS_STREAM, PRESENCE_BUCKET, presence_key
from schemas.units import NS_PER_SECOND
from services.cli.connection import DEFAULT_URL, connected
from services.launcher.ports import NATS_PORT
from shared.bus import Bus, ServerLook, look_at_server, shown_servers, stored_at
from shared.state import StateMirrors
from shared.status import mesh_status

ESSENTIAL = frozenset({f"KV_{DESIRED_BUCKET}", f"KV_{ACTUAL_BUCKET}", f"KV_{PRESENCE_BUCKET}", EVENTS_STREAM})
"""Without these there is no mesh; the others are made when they are first needed."""
_STATE_SECONDS = 2.0
_MOST_CLOCKS = 64  # services whose clocks are compared: those of one node have the same one


class NobodyListens(Unavailable):
    """There is no server at all."""


class MeshLook(Struct, frozen=True, kw_only=True):
    """What there is."""

    url: str
    """Without its password."""
    server: ServerLook
    status: MeshStatus | None = None
    """None: no mesh uses this server, or its state may not be read."""
    problem: str = ""
    """Why there is no status, where that is no wonder."""
    clocks: dict[str, float] = {}
    """By node: by how many seconds its clock is ahead of the server's."""

    @property
    def present(self) -> tuple[Presence, ...]:
        return () if self.status is None else self.status.services


async def look_at_mesh(options: argparse.Namespace, seconds: float) -> MeshLook | MeshError:
    """Ask once for all probes; an error is an answer, too."""
    url = options.nats or os.environ.get("FRAMEMESH_NATS_URL") or DEFAULT_URL
    try:
        async with asyncio.timeout(seconds):
            await _somebody_listens(url)
            return await _look(options)
    except TimeoutError:
        return Unavailable(f"the NATS server at {shown_servers(url)} does not answer within {seconds:g} s")
    except MeshError as error:
        return error


async def _somebody_listens(url: str) -> None:
    """Told at once: who connects to the bus tries again for seconds. Raises: Unavailable."""
    why = ""
    for server in url.split(","):
        parts = urlsplit(server if "//" in server else f"nats://{server}")
        try:
            _, writer = await asyncio.open_connection(parts.hostname or "", parts.port or NATS_PORT)
        except (OSError, ValueError) as error:
            why = "nothing listens there" if isinstance(error, ConnectionRefusedError) else str(error)
            continue
        writer.close()
        return
    raise NobodyListens(f"no NATS server at {shown_servers(url)} ({why})")


async def _look(options: argparse.Namespace) -> MeshLook:
    """Raises: MeshError."""
    async with connected(options) as bus:
        server = await look_at_server(bus, _streams())
        there = {look.name for look in server.streams}
        status, problem = None, ""
        if there >= ESSENTIAL:  # else to open them would make them
            try:
                status = await _status(bus)
            except MeshError as error:
                problem = error.message
        clocks = await _clocks(bus, status.services if status else ())
        return MeshLook(url=shown_servers(bus.url), server=server, status=status, problem=problem, clocks=clocks)


def _streams() -> list[str]:
    """Every stream of JetStream that the channels are kept in."""
    buckets = (f"KV_{channel.bucket}" for channel in CHANNELS if channel.bucket)
    queues = (channel.stream for channel in CHANNELS if channel.semantics == "work-queue")
    return sorted({EVENTS_STREAM, *buckets, *queues})


async def _status(bus: Bus) -> MeshStatus:
    try:
        async with asyncio.timeout(_STATE_SECONDS):
            mirrors = await StateMirrors.open(bus)
    except TimeoutError:
        raise Unavailable(f"the mesh's state was not read within {_STATE_SECONDS:g} s") from None
    try:
        return mesh_status(mirrors)
    finally:
        await mirrors.close()


async def _clocks(bus: Bus, present: Iterable[Presence]) -> dict[str, float]:
    """Of each node by its service that answers first; those of older versions do not tell."""
    nodes = {presence.node: presence for presence in present if presence.at_ns}
    asked = list(nodes.values())[:_MOST_CLOCKS]
    found = await asyncio.gather(
        *(stored_at(bus, PRESENCE_BUCKET, presence_key(p.service, p.node, p.number)) for p in asked)
    )
    clocks = {}
    for presence, stored in zip(asked, found, strict=True):
        if stored is None:
            continue
        try:
            said_ns = msgspec.json.decode(stored[0], type=Presence).at_ns
        except UNREADABLE:
            continue
        clocks[presence.node] = (said_ns - stored[1]) / NS_PER_SECOND
    return clocks

"""The fleet over real containers: one capture for each camera, and one of them killed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.capture_commands import StatsRequest, StreamStats
from schemas.commands import StartStream, StreamChanged
from schemas.errors import MeshError
from schemas.fleet import (
    FleetList,
    FleetMember,
    ListFleet,
    LogLines,
    ReadLogs,
    RestartService,
    ScaleService,
    StopService,
)
from schemas.subjects import command
from shared.bus import Bus
from tests.support.compose import ROOT, Stack, images
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(1200)]

COMPOSE = ROOT / "tests/support/fleet_compose.yaml"
SOCKET = Path("/var/run/docker.sock")
CAMERAS = ("cam0", "cam1", "cam2")
POLL_SECONDS = 0.1
Owners = dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    images()
    running = Stack()
    running.environment |= {"COMPOSE_FILE": str(COMPOSE), "DOCKER_GID": str(SOCKET.stat().st_gid)}
    try:
        running.compose("up", "--detach", "--no-build")
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout", "5", "--remove-orphans")
    assert running.left() == []


@pytest.fixture
async def bus(stack: Stack) -> Any:
    connected = await Bus.connect(f"nats://127.0.0.1:{stack.ports['NATS']}", name="test", timeout_seconds=10)
    yield connected
    await connected.drain()


async def ask(bus: Bus, verb: str, request: Any, reply: Any = FleetList) -> Any:
    return await bus.request(command("fleet", verb, "edge"), request, reply, 60)


async def members(bus: Bus) -> list[FleetMember]:
    return list((await ask(bus, "ps", ListFleet(service="capture"))).members)


async def owners(bus: Bus) -> Owners:
    """By camera the instance that has it, and its writer's epoch; only of those that deliver."""
    found: Owners = {}
    for camera in CAMERAS:
        try:
            stats = await bus.request(command("capture", "stats", camera), StatsRequest(), StreamStats, 3)
        except MeshError:  # between two owners nobody answers for it
            continue
        if stats.state == "live":
            found[camera] = stats.instance, stats.epoch
    return found


async def shared_by(bus: Bus, instances: int) -> Owners:
    patience = Patience(20)
    while not patience.is_over():
        now = await owners(bus)
        if len(now) == len(CAMERAS) and len({instance for instance, _ in now.values()}) == instances:
            return now
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"not shared by {instances}: {now}")


async def answered(bus: Bus, verb: str, request: Any) -> Any:
    """The first answer of a container that has just been started."""
    patience = Patience(20)
    while True:
        try:
            return await ask(bus, verb, request)
        except MeshError:
            if patience.is_over():
                raise
            await asyncio.sleep(POLL_SECONDS)


async def test_one_capture_for_each_camera(stack: Stack, bus: Bus) -> None:
    first = await answered(bus, "restart", RestartService(service="capture"))
    assert [(one.instance, one.state, one.health) for one in first.members] == [(1, "running", "ready")]
    for camera in CAMERAS:
        request = StartStream(stream=camera, source="test://?size=640x360&fps=10")
        await bus.request(command("capture", "start"), request, StreamChanged, 10)
    alone = await shared_by(bus, 1)
    scaled = await ask(bus, "scale", ScaleService(service="capture", instances=3))
    assert [one.container for one in scaled.members] == [f"{stack.project}-capture-{number}" for number in (1, 2, 3)]
    assert {one.health for one in scaled.members} == {"ready"}
    assert all(one.rss_bytes > 10_000_000 and one.version for one in scaled.members)
    shared = await shared_by(bus, 3)
    assert len([camera for camera in CAMERAS if shared[camera] == alone[camera]]) == 1, "who had all keeps one"
    # Killed from the host, not by Docker: that would count as stopped by hand.
    victim = scaled.members[1]
    os.kill(victim.pid, signal.SIGKILL)
    patience = Patience(20)
    while (again := (await members(bus))[1]).restarts == victim.restarts or again.health != "ready":
        assert not patience.is_over(), again
        await asyncio.sleep(POLL_SECONDS)
    back = await shared_by(bus, 3)
    moved = [camera for camera in CAMERAS if back[camera] != shared[camera]]
    assert len(moved) == 1, "the others go on in their rings"
    assert back[moved[0]][0] == shared[moved[0]][0], "it has its own camera again"
    # What Docker Compose itself makes of it.
    assert len(stack.compose("ps", "--quiet", "capture").split()) == 3
    log = await ask(bus, "logs", ReadLogs(service="capture", instance=2, tail=50), LogLines)
    assert sum("ready on node edge" in line.text for line in log.lines) == 2
    new = await ask(bus, "logs", ReadLogs(service="capture", after=log.next), LogLines)
    assert not any(line.instance == 2 for line in new.lines)
    await ask(bus, "scale", ScaleService(service="capture", instances=1))
    assert len(await members(bus)) == 1
    await shared_by(bus, 1)


async def test_stop_and_start(stack: Stack, bus: Bus) -> None:
    stopped = await ask(bus, "stop", StopService(service="capture"))
    assert [(one.state, one.pid) for one in stopped.members] == [("stopped", 0)]
    again = await ask(bus, "scale", ScaleService(service="capture", instances=1))
    assert [(one.state, one.health) for one in again.members] == [("running", "ready")]
    await shared_by(bus, 1)


async def test_a_service_that_compose_has_not_made(bus: Bus) -> None:
    with pytest.raises(
        MeshError, match=r"publisher has no container in compose project .*docker compose up -d publisher"
    ):
        await ask(bus, "restart", RestartService(service="publisher"))


async def test_containers_that_would_not_share(bus: Bus) -> None:
    with pytest.raises(MeshError, match="FRAMEMESH_HW_ENCODE_INSTANCE is not 'any' in its container"):
        await ask(bus, "scale", ScaleService(service="hw-encode", instances=2))

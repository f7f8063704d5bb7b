"""A stream of records on a real server: kept in order through its absence, bounded, never waited for."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from schemas.audit import AuditRecord
from schemas.errors import BadRequest
from schemas.subjects import AUDIT_STREAM, all_audits
from shared.audit import Audit
from shared.bus import Bus, Endpoint
from shared.bus.kept_log import _MAX_WAITING
from shared.metrics import Figures, Health
from shared.settings import Settings
from tests.support.nats import NatsServer
from tests.support.pace import patience, slowness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

_MOST_US = 300.0  # of a command's time, as agreed; it takes some 60


class Asked(msgspec.Struct):
    stream: str = "cam0"


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    connected = await Bus.connect(server.url, name="test", timeout_seconds=5)
    yield connected
    await connected.drain()


async def records(bus: Bus) -> list[AuditRecord]:
    kept = bus.kept_since(AUDIT_STREAM, all_audits(), time.time() - 600)
    return [msgspec.json.decode(message.data, type=AuditRecord) async for _, message in kept]


async def test_commands_are_kept_through_an_absence_of_the_server_which_health_tells(
    bus: Bus, server: NatsServer
) -> None:
    health = Health()
    audit = Audit(bus, "capture", Settings(node="n1"), health, Figures())

    async def start(asked: Asked) -> Asked:
        if asked.stream == "bad":
            raise BadRequest("stream bad: no")
        return asked

    endpoint = Endpoint("mesh.v1.cmd.capture.start", Asked, Asked, start)
    reading = Endpoint("mesh.v1.cmd.capture.list", Asked, Asked, start)
    served = await bus.serve("capture", "1.0.0", "", [endpoint, reading])
    await bus.request("mesh.v1.cmd.capture.start", Asked(), Asked)
    await bus.request("mesh.v1.cmd.capture.list", Asked(), Asked)
    with pytest.raises(BadRequest):
        await bus.request("mesh.v1.cmd.capture.start", Asked("bad"), Asked)
    await _until(lambda: audit._log.written == 2)
    assert health.noted == []

    server.kill()
    audit.given("capture.stop", "POST /x", b'{"stream":"cam0"}', _cause(), None)
    await _until(lambda: bool(health.noted))
    assert "audit: not written for" in health.noted[0]
    assert "1 wait" in health.noted[0]
    for _ in range(_MAX_WAITING + 9):
        audit.given("capture.ptz", "POST /x", b"{}", _cause(), None)
    assert audit._log.lost["queue"] == 10
    server.start()
    await _until(lambda: audit._log.written == 2 + _MAX_WAITING, 20)
    assert health.noted == ["audit: 10 lost"]
    kept = await records(bus)
    assert len(kept) == 2 + _MAX_WAITING, "one that was sent twice is kept once"
    assert [(one.verb, one.code) for one in kept[:3]] == [("start", 200), ("start", 400), ("stop", 200)]
    assert kept[0].request == {"stream": "cam0"}
    await served.close()
    await audit.close()


@pytest.mark.alone
async def test_a_record_costs_little(bus: Bus) -> None:
    audit = Audit(bus, "capture", Settings(node="n1"), Health(), Figures())
    request = msgspec.json.encode(
        {"stream": "cam0", "source": "rtsp://u:p@camera.local/stream1", "fps": 30, "node": "n1"}
    )
    count = 500
    began = time.perf_counter()
    for _ in range(count):
        audit.given("capture.start", "POST /x", request, _cause(), None)
    spent_us = (time.perf_counter() - began) / count * 1e6
    print(f"{spent_us:.0f} us for each record")
    assert spent_us < _MOST_US * slowness()
    await audit.close()
    assert audit._log.lost.total() == 0


def _cause():  # type: ignore[no-untyped-def]
    from shared.cause import begin

    return begin(actor="alice")


async def _until(true, seconds: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    async with patience(seconds):
        while not true():
            await asyncio.sleep(0.02)

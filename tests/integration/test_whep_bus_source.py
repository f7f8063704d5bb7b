"""The gateway's source on a real bus: demand that follows its stream, streams that are removed, and the cache."""

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.buckets import DEMAND_TTL_SECONDS
from schemas.errors import NotFound
from schemas.packets import PacketHeader
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import DEMAND_BUCKET
from services.webrtc_gateway.egress.bus_source import BusPacketSource
from services.webrtc_gateway.egress.source import NotViewable
from shared.bus import Bus, Mirror
from shared.demand import Wants
from shared.desired import Desired
from shared.packet_ring import PacketRingReader
from shared.packets import PacketPublisher
from shared.state import StateMirrors
from tests.support.nats import NatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]
GROUP_PACKETS = 50


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="framemesh-test-") as name:
        yield Path(name) / "rings"


class Mesh:
    """A bus with mirrors of its state, and what a test changes in it."""

    def __init__(self, bus: Bus, mirrors: StateMirrors, demand: Mirror, source: BusPacketSource) -> None:
        self.bus, self.demand, self.source = bus, demand, source
        self.mirrors = mirrors
        self.streams = Desired("capture", StreamSpec, StreamActual, mirrors)

    async def put(self, stream: str, node: str) -> None:
        await self.streams.put(stream, StreamSpec(stream=stream, source="test://", node=node), None)
        await self.until(lambda: (found := self.streams.spec(stream)) is not None and found[0].node == node)

    async def wanted_on(self, stream: str, *nodes: str) -> None:
        def nodes_now() -> list[str]:
            return sorted(key.split(".")[0] for key in self.demand.entries if key.split(".")[1] == stream)

        await self.until(lambda: nodes_now() == sorted(nodes))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEMAND_TTL_SECONDS / 2):  # demand is withdrawn, not left to lapse
            while not holds():
                await asyncio.sleep(0.01)


@pytest.fixture
async def mesh(server: NatsServer, folder: Path) -> AsyncIterator[Mesh]:
    bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
    mirrors, wants = await StateMirrors.open(bus), Wants(bus)
    demand = Mirror(await bus.bucket(DEMAND_BUCKET))
    await demand.synced()
    yield Mesh(bus, mirrors, demand, BusPacketSource(bus, mirrors, wants, folder))
    await demand.close()
    await wants.close()
    await mirrors.close()
    await bus.drain()


def ignore(_header: PacketHeader, _payload: memoryview) -> None:
    """No packets are expected."""


async def test_demand_follows_the_stream_to_its_node(mesh: Mesh) -> None:
    await mesh.put("mover", "n1")
    subscription = await mesh.source.open("mover", None, ignore)
    await mesh.wanted_on("mover", "n1")
    await mesh.put("mover", "n2")
    await mesh.wanted_on("mover", "n2")
    await mesh.put("mover", "n1")
    await mesh.wanted_on("mover", "n1")
    await subscription.close()
    await mesh.wanted_on("mover")
    await mesh.put("mover", "n2")
    assert mesh.demand.entries == {}, "nobody follows any more"


async def test_a_removed_stream_ends_with_its_reason_and_its_demand(mesh: Mesh) -> None:
    await mesh.put("goer", "n1")
    subscription = await mesh.source.open("goer", None, ignore)
    reasons: list[str] = []
    subscription.on_ended(reasons.append)
    await mesh.wanted_on("goer", "n1")
    await mesh.put("bystander", "n1")
    assert reasons == []
    await mesh.streams.remove("goer", None)
    await mesh.until(lambda: reasons != [])
    await mesh.wanted_on("goer")
    with pytest.raises(NotFound, match="'goer' does not exist"):
        await mesh.source.open("goer", None, ignore)
    await mesh.put("bystander", "n2")
    await subscription.close()
    assert reasons == ["removed"]


async def test_a_spec_nobody_can_read_ends_nothing(mesh: Mesh) -> None:
    await mesh.put("odd", "n1")
    subscription = await mesh.source.open("odd", None, ignore)
    reasons: list[str] = []
    subscription.on_ended(reasons.append)
    await (await mesh.bus.bucket("mesh_desired")).put("capture.odd", b'{"from":"the future"}')
    await mesh.until(lambda: mesh.streams.spec("odd") is None)
    await mesh.wanted_on("odd", "n1")
    assert reasons == []
    await subscription.close()


async def test_a_refused_rendition_leaves_no_demand(mesh: Mesh) -> None:
    await mesh.put("plain", "n1")
    with pytest.raises(NotFound, match="no rendition 'none'"):
        await mesh.source.open("plain", "none", ignore)
    await mesh.put("plain", "n2")
    assert mesh.demand.entries == {}


async def test_what_was_started_a_moment_ago_elsewhere_is_there(mesh: Mesh) -> None:
    news = mesh.mirrors.desired.entries

    def forget() -> None:
        for key in [key for key in news if "late" in key]:
            del news[key]

    renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mesh.mirrors)
    thick = RenditionSpec(stream="late", rendition="thick", b_frames=2)
    await mesh.put("late", "n1")
    await renditions.put("late--thick", thick, None)
    await mesh.until(lambda: renditions.spec("late--thick") is not None)
    forget()
    opening = asyncio.create_task(mesh.source.open("late", "thick", ignore))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(opening), 0.2)
    # As the news of both, a moment late.
    await (await mesh.bus.bucket("mesh_desired")).put(
        "capture.late", msgspec.json.encode(StreamSpec(stream="late", source="test://", node="n2"))
    )
    await (await mesh.bus.bucket("mesh_desired")).put("hw-encode.late--thick", msgspec.json.encode(thick))
    with pytest.raises(NotViewable, match="it has B-frames"):
        await opening


async def test_the_cache_is_read_off_the_event_loop(mesh: Mesh, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await mesh.put("cached", "n1")
    threads: list[int] = []
    read = PacketRingReader.from_last_key

    def watched(ring: PacketRingReader) -> Any:
        threads.append(threading.get_ident())
        return read(ring)

    monkeypatch.setattr(PacketRingReader, "from_last_key", watched)
    publisher = PacketPublisher(
        mesh.bus, folder, stream="cached", rendition="main", run=1, ring_seconds=60.0, ring_bytes=1 << 20
    )
    delivered: list[int] = []
    try:
        for index in range(1, GROUP_PACKETS + 1):
            publish(publisher, key=index == 1)
        subscription = await mesh.source.open("cached", None, lambda header, _: delivered.append(header.index))
        reading = asyncio.create_task(subscription.cached())
        publish(publisher, key=False)
        cached = [header.index for header, _ in await reading]
        await mesh.until(lambda: delivered[-1:] == [GROUP_PACKETS + 1])
        await subscription.close()
    finally:
        publisher.close()
    assert cached[:GROUP_PACKETS] == list(range(1, GROUP_PACKETS + 1))
    assert threads != []
    assert threading.get_ident() not in threads


def publish(publisher: PacketPublisher, *, key: bool) -> None:
    publisher.publish(b"x" * 100, track="video", codec="h264", epoch=1, key=key, pts_ns=1, dts_ns=1, captured_ns=1)

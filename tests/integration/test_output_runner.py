"""An output and the mesh around it: demand that follows its stream, a resume beside live packets, last words."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from schemas.packets import PacketHeader, pack
from schemas.resources import OutputSpec
from schemas.subjects import packets
from services.publisher.output_runner import OutputRunner
from services.publisher.progress import OutputProgress, Position
from services.publisher.settings import PublisherSettings
from services.publisher.writer import OutputWriter
from shared.bus import Bus
from shared.demand import DemandBoard, Wants
from shared.metrics import Figures, Health
from shared.packet_ring import PacketRingReader, PacketRingWriter
from shared.reconcile import Reporter
from shared.service import Context
from shared.state import StateMirrors
from tests.support.nats import NatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]

SPEC = OutputSpec(stream="cam0", output="file", to="file://x.mp4", node="edge1")
FRAME_NS = 40_000_000
RING_BYTES = 32 << 20
PICTURE_BYTES = 40_000
PICTURES = 700  # 28 MB, as much as a ring of the usual size holds


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    connected = await Bus.connect(server.url, name="test", timeout_seconds=5)
    yield connected
    await connected.drain()


class Publisher:
    """What an output has around it in its service."""

    def __init__(self, context: Context[PublisherSettings], mirrors: StateMirrors) -> None:
        self.context = context
        self.reporter = Reporter(context)
        self.wants = Wants(context.bus)
        self.runner = OutputRunner("cam0--file", context, self.reporter, self.wants, mirrors)


@pytest.fixture
async def publisher(bus: Bus, tmp_path: Path) -> AsyncIterator[Publisher]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="output-runner-test-") as shm:
        settings = PublisherSettings(node="edge1", shm_dir=Path(shm), data_dir=tmp_path)
        (tmp_path / "media").mkdir()
        await say_stream(bus, "edge1")
        mirrors = await StateMirrors.open(bus)
        context = Context("publisher", settings, bus, AsyncExitStack(), Health(), Figures())
        made = Publisher(context, mirrors)
        yield made
        await made.runner.stop()
        await made.wants.close()
        await context.cancel_tasks()
        await mirrors.close()


async def say_stream(bus: Bus, node: str | None) -> None:
    bucket = await bus.bucket("mesh_desired")
    if node is None:
        await bucket.delete("capture.cam0")
    else:
        spec = {"stream": "cam0", "source": "test://", "node": node}
        await bucket.put("capture.cam0", msgspec.json.encode(spec))


async def test_demand_goes_with_the_stream(bus: Bus, publisher: Publisher) -> None:
    changed = asyncio.Event()
    boards = {node: await DemandBoard.open(bus, node, changed.set) for node in ("edge1", "edge2")}

    async def wanted_on(*nodes: str) -> None:
        async with asyncio.timeout(5):
            while tuple(node for node, board in boards.items() if board.wanted("cam0", "main")) != nodes:
                changed.clear()
                await changed.wait()

    await publisher.runner.start(SPEC, 1)
    await wanted_on("edge1")
    await say_stream(bus, "edge2")
    await wanted_on("edge2")
    await say_stream(bus, None)  # it may come back, and nobody else would ask for its encoder
    await say_stream(bus, "edge1")
    await wanted_on("edge1")
    await publisher.runner.stop()
    await wanted_on()
    for board in boards.values():
        await board.close()


async def test_a_thread_left_behind_reports_nothing(bus: Bus, publisher: Publisher) -> None:
    await publisher.runner.start(SPEC, 1)
    await publisher.runner.stop(removed=True)
    publisher.reporter.remove("cam0--file")
    publisher.runner._progress_from_thread(OutputProgress(state="running", since_ns=1))
    await asyncio.sleep(0)  # where the report would be made
    await publisher.reporter.flush()
    assert await (await bus.bucket("mesh_actual")).get("publisher.cam0--file") is None


def picture(index: int) -> PacketHeader:
    return PacketHeader(
        stream="cam0", rendition="main", track="video", codec="h264", epoch=1, sequence=index, run=1, index=index,
        key=index % 25 == 1, pts_ns=index * FRAME_NS, dts_ns=index * FRAME_NS, captured_ns=0,
    )  # fmt: skip


async def test_a_resume_does_not_stop_the_event_loop_and_keeps_the_order(
    bus: Bus, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = publisher.context.settings
    ring = PacketRingWriter.create(settings.shm_dir, "cam0", "main", 1, seconds=60, max_bytes=RING_BYTES)
    for index in range(1, PICTURES + 1):
        ring.append(picture(index), bytes(PICTURE_BYTES))
    state = settings.data_dir / "publisher"
    state.mkdir()
    (state / "cam0--file.json").write_bytes(
        msgspec.json.encode(Position(run=1, index=1, pts_ns=FRAME_NS, file="x.mp4"))
    )
    began = time.perf_counter()
    with PacketRingReader.open_latest(settings.shm_dir, "cam0", "main") as reader:
        list(reader.after(1, 1))
    read_seconds = time.perf_counter() - began
    fed: list[int] = []
    runner = publisher.runner

    # Nothing else tells in which order they came.
    for name in ("feed", "feed_when_room"):
        monkeypatch.setattr(OutputWriter, name, lambda _self, header, *_: fed.append(header.index))
    longest_seconds, ended = 0.0, asyncio.Event()

    async def live() -> None:
        """A producer on the same event loop, which also notices when that stands still."""
        nonlocal longest_seconds
        index = PICTURES
        while not ended.is_set():
            index += 1
            bus.post(packets("cam0", "main", "video"), pack(picture(index), bytes(100)))
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_seconds = max(longest_seconds, time.perf_counter() - before)

    producing = asyncio.create_task(live())
    await runner.start(SPEC, 1)
    await bus.flush()
    ended.set()
    await producing
    ring.close()
    print(f"read in {read_seconds * 1e3:.0f} ms, the loop stood still for {longest_seconds * 1e3:.0f} ms at most")
    assert fed[:PICTURES] == list(range(1, PICTURES + 1)), "the ring's first"
    assert fed[PICTURES:] == sorted(fed[PICTURES:])
    assert len(fed) > PICTURES, "then what came meanwhile"
    assert longest_seconds < 0.6 * read_seconds

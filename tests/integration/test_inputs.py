"""Inputs of machines joined to pictures: lines over TCP at random moments, pictures with the clock burnt in."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from schemas.errors import BadRequest, Conflict, NotFound
from schemas.frames import FrameRef
from schemas.subjects import PREFIX, frames
from shared.bus import Bus, Message
from shared.ring import RingReader
from shared.tasks import end_tasks
from tests.support.io_node import IoNode
from tests.support.pace import Patience, slowness
from tests.support.peers import free_port
from tests.support.time_codes import TimeCodes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

MS = 1_000_000
FPS = 30
PICTURE_NS = 1_000_000_000 // FPS
CODE_NS = 2 * MS  # the code is in milliseconds
LONG_COUNT, SHORT_COUNT = 1_000, 30


@pytest.fixture(scope="module")
def node() -> Iterator[IoNode]:
    with IoNode.running("capture", "io_signal") as running:
        yield running


class Mesh:
    """A test's own connection: commands, and the events of inputs."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.events: list[dict[str, Any]] = []

    def _receive(self, message: Message) -> None:
        self.events.append(msgspec.json.decode(message.data))

    async def open(self) -> None:
        await self.bus.subscribe(f"{PREFIX}.evt.io-signal.>", self._receive)
        await self.bus.flush()

    async def call(self, subject: str, **request: Any) -> Any:
        return msgspec.json.decode(
            await self.bus.request_raw(f"{PREFIX}.cmd.{subject}", msgspec.json.encode(request), 10)
        )

    def of(self, name: str, event: str) -> list[dict[str, Any]]:
        """The details of one event of one input, in order."""
        return [one["detail"] for one in self.events if (one["id"], one["event"]) == (name, event)]

    def states(self, name: str) -> list[str]:
        return [one["state"] for one in self.events if (one["id"], one["event"]) == (name, "state")]

    async def until(self, what: Any, seconds: float = 10.0) -> Any:
        waiting = Patience(seconds)
        while not (value := what()):
            assert not waiting.is_over(), self.events[-5:]
            await asyncio.sleep(0.02)
        return value

    async def listen(self, name: str, **fields: Any) -> int:
        """Start an input on a free port; the port."""
        port = free_port()
        request = {"input": name, "mode": "tcp", "address": f"tcp://127.0.0.1:{port}", "value": "number", **fields}
        reply = await self.call("io-signal.start-input", **request)
        assert (reply["code"], reply["actual"]["state"]) == (200, "active"), reply
        assert reply["actual"]["address"] == f"tcp://127.0.0.1:{port}"
        return port

    async def until_actual(self, name: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The state of an input, once `is_so`."""
        waiting = Patience(10.0)
        while True:
            for entry in (await self.call("io-signal.list"))["inputs"]:
                if entry["spec"]["input"] == name and entry.get("actual") and is_so(entry["actual"]):
                    found: dict[str, Any] = entry["actual"]
                    return found
            assert not waiting.is_over(), name
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def connected(node: IoNode) -> AsyncIterator[Mesh]:
    bus = await Bus.connect(node.nats.url, name="test", timeout_seconds=5)
    mesh = Mesh(bus)
    try:
        await mesh.open()
        yield mesh
    finally:
        for entry in (await mesh.call("io-signal.list"))["inputs"]:
            await mesh.call("io-signal.stop-input", input=entry["spec"]["input"])
        await bus.drain()


def connect(port: int) -> socket.socket:
    waiting = Patience(5.0)
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except ConnectionRefusedError:  # on a machine that stands still a hand may be replaced once more
            assert not waiting.is_over()
            time.sleep(0.05)


@contextlib.contextmanager
def machine(port: int) -> Iterator[socket.socket]:
    with connect(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


@contextlib.asynccontextmanager
async def pictures(node: IoNode, mesh: Mesh, stream: str = "cam0") -> AsyncIterator[TimeCodes]:
    """A stream with its time codes; pictures come by the demand of inputs alone."""
    source = f"test://?size=384x216&fps={FPS}"
    await mesh.call("capture.start", stream=stream, source=source, timecode=True)
    codes = await TimeCodes(RingReader(node.shm_dir)).open(mesh.bus, "test", stream)
    try:
        yield codes
    finally:
        await codes.close()


async def tell_at_random(port: int, count: int) -> dict[int, tuple[int, int]]:
    """Lines at random moments; by what each says, between which two instants it was sent."""
    instants = {}
    with machine(port) as connection:
        for number in range(1, count + 1):
            await asyncio.sleep(random.uniform(0.01, 0.06))
            line = f"{number}\n".encode()
            before_ns = time.time_ns()
            connection.sendall(line)
            instants[number] = (before_ns, time.time_ns())
    return instants


def check_joined(details: list[dict[str, Any]], instants: dict[int, tuple[int, int]], codes: TimeCodes) -> list[int]:
    """Each joined picture is the one that was there at the instant, by the clocks in the pictures; how old each was."""
    ages = []
    for detail in details:
        (before_ns, after_ns), at_ns = instants[detail["value"]], detail["at_ns"]
        assert before_ns - MS < at_ns, detail
        assert "why" not in detail, detail["why"]
        epoch, sequence = detail["epoch"], detail["frame"]["sequence"]
        code_ns = codes.codes.get((epoch, sequence))
        following = codes.codes.get((epoch, sequence + 1))
        if code_ns is None or following is None:  # the test was too late to read one of them
            continue
        assert code_ns - CODE_NS <= at_ns < following + CODE_NS, detail
        assert detail["frame"]["dt_ns"] == at_ns - detail["frame"]["captured_ns"]
        assert abs(detail["frame"]["captured_ns"] - code_ns) < CODE_NS
        assert detail["before"]["sequence"] == sequence - 1
        assert detail["after"]["sequence"] == sequence + 1
        assert detail["after"]["dt_ns"] < 0 <= detail["frame"]["dt_ns"] < detail["before"]["dt_ns"]
        # Else the test was held up while it sent, or the line between the two ends of the kernel's loopback.
        if max(after_ns, at_ns) - before_ns < CODE_NS:
            ages.append(before_ns - code_ns)
    return ages


async def prove(node: IoNode, count: int) -> list[int]:
    async with connected(node) as mesh, pictures(node, mesh) as codes:
        port = await mesh.listen("di1", stream="cam0")
        await mesh.until(lambda: len(codes.refs) > 5)
        instants = await tell_at_random(port, count)
        await mesh.until(lambda: len(mesh.of("di1", "frame")) >= count)
        edges, joined = mesh.of("di1", "edge"), mesh.of("di1", "frame")
        assert [edge["value"] for edge in edges] == list(range(1, count + 1))
        assert [edge["number"] for edge in edges] == list(range(1, count + 1))
        assert {edge["clock"] for edge in edges} == {"kernel"}
        assert [detail["value"] for detail in joined] == list(range(1, count + 1))
        return check_joined(joined, instants, codes)


def within_one_picture(ages: list[int]) -> float:
    """The share; pictures of a machine that is short of time are further apart, and the right ones nevertheless."""
    return sum(-CODE_NS <= age <= PICTURE_NS + CODE_NS for age in ages) / len(ages)


async def test_the_picture_of_an_instant_is_the_right_one(node: IoNode) -> None:
    ages = await prove(node, SHORT_COUNT)
    print(f"{len(ages)} joined, oldest {max(ages) / MS:.1f} ms, within a picture {within_one_picture(ages):.3f}")
    assert len(ages) >= 0.5 * SHORT_COUNT  # the others were right as well, by less exact instants


@pytest.mark.long
@pytest.mark.alone
async def test_a_thousand_pictures_of_instants_are_the_right_ones(node: IoNode) -> None:
    ages = await prove(node, LONG_COUNT)
    print(f"{len(ages)} joined, oldest {max(ages) / MS:.1f} ms, within a picture {within_one_picture(ages):.4f}")
    assert len(ages) >= (0.98 if slowness() < 1.2 else 0.8) * LONG_COUNT
    assert within_one_picture(ages) >= (0.999 if slowness() < 1.2 else 0.95)


async def test_a_value_goes_with_the_pictures_captured_since(node: IoNode) -> None:
    async with connected(node) as mesh, pictures(node, mesh) as codes:
        port = await mesh.listen("encoder", stream="cam0", attach="position")
        await mesh.until(lambda: len(codes.refs) > 3)
        known = await tell_at_random(port, 12)
        last = len(codes.refs)
        await mesh.until(lambda: len(codes.refs) > last + 3)
        assert codes.refs[-1].metadata == {"position": 12}
        late = 0
        for ref in codes.refs:
            value = int(ref.metadata.get("position", 0))
            newest = max((number for number, (at_ns, _) in known.items() if at_ns <= ref.captured_ns), default=0)
            assert value <= newest, ref  # nothing of after its capture
            late += value != newest
        assert late <= len(codes.refs) // 2  # told within the few ms between two lines, or with the next picture
        with pytest.raises(Conflict, match="input encoder tells position of cam0 already"):
            await mesh.call(
                "io-signal.start-input",
                input="other",
                mode="tcp",
                address="tcp://127.0.0.1:0",
                stream="cam0",
                attach="position",
            )
        await mesh.listen("encoder2", stream="cam0")  # keeps the pictures coming
        await mesh.call("io-signal.stop-input", input="encoder")
        await mesh.until(lambda: not codes.refs[-1].metadata)


async def test_pictures_that_come_late_are_waited_for(node: IoNode) -> None:
    late_ns, distance_ns = 400 * MS, 20 * MS

    async def post(bus: Bus) -> None:
        """References as of a camera whose pictures take 0.4 s to arrive."""
        template = FrameRef(
            stream="far",
            node="test",
            epoch=1,
            sequence=1,
            ring="far.1",
            slot=0,
            pixel_format="gray",
            width=8,
            height=8,
            pts_ns=0,
            captured_ns=0,
            monotonic_ns=0,
            clock="rtcp",
        )
        for sequence in range(1, 1_000):
            ref = msgspec.structs.replace(template, sequence=sequence, captured_ns=time.time_ns() - late_ns)
            bus.post(frames("test", "far"), msgspec.json.encode(ref))
            await asyncio.sleep(distance_ns / 1e9)

    async with connected(node) as mesh:
        await mesh.call("capture.start", stream="far", source="app://")
        port = await mesh.listen("di1", stream="far")
        camera = asyncio.create_task(post(mesh.bus))
        with machine(port) as connection:
            await asyncio.sleep(0.1)
            connection.sendall(b"1\n")
            frame = (await mesh.until(lambda: mesh.of("di1", "frame")))[0]
        await end_tasks(camera)
        await mesh.call("capture.stop", stream="far")
        assert "why" not in frame, frame["why"]
        assert frame["clock"] == "rtcp"
        assert frame["frame"]["dt_ns"] >= 0 > frame["after"]["dt_ns"]
        assert frame["after"]["sequence"] == frame["frame"]["sequence"] + 1


async def test_a_command_about_a_picture_tells_how_long_after_its_capture_the_output_changed(node: IoNode) -> None:
    lines = list[bytes]()

    async def take(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            lines.append(line)

    async with connected(node) as mesh, pictures(node, mesh) as codes:
        server = await asyncio.start_server(take, "127.0.0.1", 0)
        async with server:
            where = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await mesh.call("io-signal.start", signal="do1", mode="tcp", address=where, streams=["cam0"])
            with pytest.raises(Conflict, match="a signal is called 'do1' already"):
                await mesh.listen("do1", stream="cam0")
            await asyncio.sleep(0.2)
            assert codes.refs == []  # a signal alone has no pictures made
            await mesh.listen("di1", stream="cam0")
            await mesh.until(lambda: len(codes.refs) > 5)
            await mesh.call("io-signal.stop-input", input="di1")
            ref = codes.refs[-1]
            about = {"stream": "cam0", "epoch": ref.epoch, "sequence": ref.sequence}
            reply = await mesh.call("io-signal.pulse", signal="do1", keep="50ms", **about)
            assert reply["since_capture_ns"] == reply["edge_ns"] - ref.captured_ns > 0
            reply = await mesh.call("io-signal.on", signal="do1", stream="cam0", sequence=10_000)
            assert reply["since_capture_ns"] is None
            await mesh.call("io-signal.stop", signal="do1")
        assert lines


async def test_an_instant_without_pictures_is_told_at_once_and_why_there_is_none(node: IoNode) -> None:
    async with connected(node) as mesh:
        port = await mesh.listen("di1", stream="ghost", value="text")
        with machine(port) as connection:
            connection.sendall(b"part 7\n")
            edge = (await mesh.until(lambda: mesh.of("di1", "edge")))[0]
            assert (edge["value"], edge["number"]) == ("part 7", 1)
            frame = (await mesh.until(lambda: mesh.of("di1", "frame")))[0]
        assert frame["why"] == "there is no stream 'ghost'"
        assert frame["number"] == 1
        actual = await mesh.until_actual("di1", lambda one: one["events"] == 1)
        assert actual["value"] == "part 7"


async def test_instants_while_capture_is_away_and_after_it_is_back(node: IoNode) -> None:
    async with connected(node) as mesh, pictures(node, mesh) as codes:
        port = await mesh.listen("di1", stream="cam0")
        await mesh.until(lambda: len(codes.refs) > 5)
        with machine(port) as connection:
            connection.sendall(b"1\n")
            await mesh.until(lambda: len(mesh.of("di1", "frame")) == 1)
            node.kill("capture")
            await asyncio.sleep(0.2)
            connection.sendall(b"2\n")
            await mesh.until(lambda: len(mesh.of("di1", "frame")) == 2)
            node.start("capture")  # from this thread: services end with the one that started them
            first_epoch = codes.refs[-1].epoch
            await mesh.until(lambda: codes.refs[-1].epoch > first_epoch and codes.refs[-1].sequence > 3)
            connection.sendall(b"3\n")
            await mesh.until(lambda: len(mesh.of("di1", "frame")) == 3)
        before, away, after = mesh.of("di1", "frame")
        assert "why" not in before
        assert "the nearest picture of cam0 was captured" in away["why"]
        assert "before it" in away["why"]
        assert after["epoch"] > before["epoch"]


async def test_an_input_is_listened_to_again_in_another_hand_and_by_another_service(node: IoNode) -> None:
    async with connected(node) as mesh:
        port = await mesh.listen("di1", value="level", edge="rising")
        os.kill(node.hand, signal.SIGKILL)
        await mesh.until(lambda: mesh.states("di1")[-2:] == ["failed", "active"])
        with machine(port) as connection:
            connection.sendall(b"on\noff\non\n")
            await mesh.until(lambda: len(mesh.of("di1", "edge")) == 2)
        node.kill("io_signal")
        node.start("io_signal")
        await mesh.until_actual("di1", lambda one: one["state"] == "active")
        with machine(port) as connection:
            connection.sendall(b"on\n")
            await mesh.until(lambda: len(mesh.of("di1", "edge")) == 3)
        assert [one["value"] for one in mesh.of("di1", "edge")] == [True] * 3


async def test_what_can_never_work_is_refused_with_what_to_do(node: IoNode) -> None:
    good = {"input": "di1", "mode": "tcp", "address": "tcp://127.0.0.1:0"}
    async with connected(node) as mesh:
        for wrong, text in (
            ({"address": "tcp://127.0.0.1"}, "address"),
            ({"pattern": "("}, "pattern"),
            ({"debounce": "5"}, "debounce"),
            ({"debounce": "5ms", "value": "number"}, "debounce"),
            ({"pull": "up"}, "pull"),
            ({"attach": "position"}, "attach"),
            ({"mode": "modbus", "address": "tcp://127.0.0.1:502/1/coil/3", "value": "text"}, "value"),
            ({"mode": "modbus", "address": "tcp://127.0.0.1:502/1/coil/3", "poll": "0ms"}, "poll"),
            ({"edge": "sideways"}, "edge"),
            ({"colour": "red"}, "colour"),
        ):
            with pytest.raises(BadRequest, match=text):
                await mesh.call("io-signal.start-input", **{**good, **wrong})
        with pytest.raises(NotFound, match="'di1' does not exist"):
            await mesh.call("io-signal.stop-input", input="di1")
        assert (await mesh.call("io-signal.list"))["inputs"] == []

"""The bus against a real server: commands, errors both ways, state, and a server that is killed."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from schemas.commands import KeyFrameReply, KeyFrameRequest, StartStream, StreamChanged
from schemas.errors import BadRequest, Conflict, ErrorInfo, InternalError, NotFound, Unavailable
from schemas.events import Event
from schemas.resources import StreamActual
from schemas.subjects import EPOCH_BUCKET
from shared.bus import Bus, Endpoint, Message, Mirror
from shared.demand import DemandBoard, Wants
from shared.desired import error_in_reply
from shared.epochs import next_epoch
from tests.support.nats import NatsServer
from tests.support.peers import free_port

SUBJECT = "mesh.v1.cmd.capture.start"


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    connected = await Bus.connect(server.url, name="test", timeout_seconds=5)
    yield connected
    await connected.drain()


async def reply(request: StartStream) -> StreamChanged:
    if request.stream == "missing":
        raise NotFound("stream 'missing' does not exist")
    if request.stream == "bug":
        raise ZeroDivisionError("secret detail")
    if request.stream == "slow":
        await asyncio.sleep(0.5)
    error = ErrorInfo(code=503, message="camera away") if request.stream == "away" else None
    actual = StreamActual(stream=request.stream, node="n", revision=1, state="live", error=error)
    return StreamChanged(code=200, service="capture", id=request.stream, revision=1, actual=actual)


async def test_no_server_is_one_clear_error() -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"no NATS server at nats://127.0.0.1:\d+ .*framemesh up"):
        await Bus.connect(f"nats://127.0.0.1:{free_port()}", name="test", timeout_seconds=1)
    assert time.monotonic() - started < 3


async def test_commands_and_errors_travel_typed(bus: Bus) -> None:
    served = await bus.serve(
        "capture", "0.1.0", "test", [Endpoint(SUBJECT, StartStream, StreamChanged, reply, error_in_reply)]
    )
    good = await bus.request(SUBJECT, StartStream(stream="cam0", source="test://"), StreamChanged)
    assert good.actual is not None
    assert good.actual.state == "live"
    with pytest.raises(NotFound, match="does not exist"):
        await bus.request(SUBJECT, StartStream(stream="missing", source="test://"), StreamChanged)
    with pytest.raises(InternalError) as bug:
        await bus.request(SUBJECT, StartStream(stream="bug", source="test://"), StreamChanged)
    assert "secret detail" not in bug.value.message, "an unexpected exception's text stays in the service's log"
    with pytest.raises(Unavailable, match="camera away") as away:
        await bus.request(SUBJECT, StartStream(stream="away", source="test://"), StreamChanged)
    assert msgspec.json.decode(away.value.reply, type=StreamChanged).id == "away", "the state comes with the error"
    with pytest.raises(Unavailable, match="nobody answers"):
        await bus.request_raw("mesh.v1.cmd.capture.nosuch", b"{}")
    await served.close()


@pytest.mark.parametrize(
    ("request_bytes", "words"),
    [
        (b"not json", "malformed"),
        (b'{"stream":"cam0"}', "missing required field `source`"),
        (b'{"stream":"cam0","source":1}', "source 1: expected `str`"),
        (b'{"stream":"cam0","source":"test://","colour":1}', "unknown field `colour`; there are stream, source"),
        (b'{"stream":"Cam_0","source":"test://"}', "single hyphens"),
        (b'{"stream":"cam0\\n","source":"test://"}', "single hyphens"),
        (b"[]", "Expected `object`"),
        (b'{"stream":"\x80","source":"test://"}', "utf-8"),
    ],
)
async def test_a_bad_request_names_field_and_fix(bus: Bus, request_bytes: bytes, words: str) -> None:
    served = await bus.serve("capture", "0.1.0", "test", [Endpoint(SUBJECT, StartStream, StreamChanged, reply)])
    with pytest.raises(BadRequest) as refused:
        await bus.request_raw(SUBJECT, request_bytes)
    assert words in refused.value.message
    assert "\n" not in refused.value.message
    await served.close()


async def test_a_slow_command_holds_up_no_other(bus: Bus) -> None:
    served = await bus.serve("capture", "0.1.0", "test", [Endpoint(SUBJECT, StartStream, StreamChanged, reply)])
    slow = asyncio.create_task(bus.request(SUBJECT, StartStream(stream="slow", source="test://"), StreamChanged))
    await asyncio.sleep(0.05)
    started = time.monotonic()
    await bus.request(SUBJECT, StartStream(stream="quick", source="test://"), StreamChanged)
    assert time.monotonic() - started < 0.3
    assert not slow.done()
    await served.close()  # drains: the slow one is still answered
    assert (await slow).id == "slow"


async def test_compare_and_set(bus: Bus) -> None:
    bucket = await bus.bucket("test_cas")
    revision = await bucket.update("a.b", b"1", 0)
    with pytest.raises(Conflict):
        await bucket.update("a.b", b"2", 0)
    assert await bucket.update("a.b", b"2", revision) > revision
    with pytest.raises(Conflict):
        await bucket.delete("a.b", revision)
    await bucket.delete("a.b")
    assert await bucket.get("a.b") is None
    assert await bucket.update("a.b", b"3", 0) > revision, "a deleted key can be made again"


async def test_a_bucket_of_deleted_keys_is_listed_as_empty(bus: Bus) -> None:
    bucket = await bus.bucket("test_deleted")
    assert await bucket.entries() == {}
    await bucket.put("a.b", b"1")
    assert set(await bucket.entries()) == {"a.b"}
    await bucket.delete("a.b")
    assert await bucket.entries() == {}
    mirror = Mirror(bucket, "a.>")
    await mirror.synced(3)
    await mirror.close()
    assert await bucket.entries("other.>") == {}


async def test_epochs_grow_whoever_takes_them(server: NatsServer, bus: Bus) -> None:
    other = await Bus.connect(server.url, name="other", timeout_seconds=5)
    taken = await asyncio.gather(*(next_epoch(one, "cam0") for one in (bus, other) for _ in range(3)))
    assert len(set(taken)) == 6
    assert await next_epoch(bus, "cam0") > max(taken)
    assert await next_epoch(bus, "cam0", at_least=max(taken) * 2) == max(taken) * 2
    bucket = await bus.bucket(EPOCH_BUCKET)
    for spoilt in (b"", b"soon"):
        await bucket.put("cam1", spoilt)
        assert await next_epoch(bus, "cam1") > min(taken)
    await other.drain()


async def test_posting_while_away_drops_counts_and_never_waits() -> None:
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
        received: list[Message] = []
        subscription = await bus.subscribe("mesh.v1.frames.n.cam0", received.append)
        await bus.flush()
        bus.post("mesh.v1.frames.n.cam0", b"1")
        await bus.flush()
        server.kill()
        while bus.connected:
            await asyncio.sleep(0.01)
        started = time.perf_counter()
        for _ in range(1000):
            bus.post("mesh.v1.frames.n.cam0", b"lost")
        assert time.perf_counter() - started < 0.1
        assert bus.stats.dropped_disconnected == 1000
        server.start()
        async with asyncio.timeout(5):
            while not bus.connected or len(received) < 2:
                bus.post("mesh.v1.frames.n.cam0", b"2")
                await asyncio.sleep(0.02)
        assert {message.data for message in received} == {b"1", b"2"}
        assert subscription._inner.delivered == 0, "taken in the read, also by the second connection"
        await subscription.close()
        before = len(received)
        bus.post("mesh.v1.frames.n.cam0", b"3")
        await bus.flush()
        assert len(received) == before
        await bus.drain()


async def test_a_put_half_a_second_after_a_restart_is_seen_within_two() -> None:
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="watcher", timeout_seconds=5)
        bucket = await bus.bucket("mesh_desired")
        mirror = Mirror(bucket, "capture.>")
        await mirror.synced()
        await bucket.put("capture.before", b"1")
        assert await mirror.wait_for(lambda entries: "capture.before" in entries, 2)
        server.kill()
        server.start()
        writer = await Bus.connect(server.url, name="writer", timeout_seconds=5)
        await asyncio.sleep(0.5)
        await (await writer.bucket("mesh_desired")).put("capture.after", b"1")
        assert await mirror.wait_for(lambda entries: "capture.after" in entries, 2)
        assert "capture.before" in mirror.entries, "what was there is still there"
        await writer.drain()
        await mirror.close()
        await bus.drain()


@pytest.mark.long
async def test_demand_lapses_by_itself_and_survives_a_restart_of_the_bus() -> None:
    with NatsServer() as server:
        consumer = await Bus.connect(server.url, name="consumer", timeout_seconds=5)
        producer = await Bus.connect(server.url, name="producer", timeout_seconds=5)
        changes: list[bool] = []
        board = await DemandBoard.open(producer, "n1", lambda: changes.append(board.wanted("cam0", "main")))
        wants = Wants(consumer)
        release = wants.want("n1", "cam0", "main", "viewer")
        await until(lambda: changes == [True])
        server.kill()
        server.start()
        await asyncio.sleep(6)  # longer than the TTL: it must be said again to the server that forgot it
        assert changes == [True], "a restart of the bus is no change of demand"
        release()
        await until(lambda: changes == [True, False])
        wants.want("n1", "cam0", "main", "viewer")
        await until(lambda: changes[-1])
        await consumer.drain()  # as if killed: nothing is withdrawn
        await until(lambda: not changes[-1], seconds=8)
        await board.close()
        await producer.drain()


async def test_events_are_kept(bus: Bus) -> None:
    await bus.ensure_events()
    received: list[Message] = []
    await bus.subscribe("mesh.v1.evt.>", received.append)
    bus.post_event(Event(service="capture", id="cam0", event="state", node="n1", at_ns=1, state="live"))
    progress = Event(service="frame-extractor", id="task-1", event="job-progress", node="n1", at_ns=2)
    bus.post_event(progress, kept=False)
    await until(lambda: len(received) == 2)
    assert received[0].subject == "mesh.v1.evt.capture.cam0.state"
    assert msgspec.json.decode(received[0].data, type=Event).state == "live"
    assert msgspec.json.decode(received[1].data, type=Event) == progress, "told to who listens"
    assert await bus.kept_events(0, 10) == (1, [received[0]])


async def test_each_command_names_its_types_to_discovery(bus: Bus) -> None:
    async def key_frame(request: KeyFrameRequest) -> KeyFrameReply:
        return KeyFrameReply(forced=True)

    subject = "mesh.v1.cmd.hw-encode.cam0--main.keyframe"
    served = await bus.serve("hw-encode", "0.1.0", "x", [Endpoint(subject, KeyFrameRequest, KeyFrameReply, key_frame)])
    info = msgspec.json.decode(await bus.request_raw("$SRV.INFO.hw-encode", b""))
    assert info["endpoints"][0]["metadata"] == {"request": "KeyFrameRequest", "reply": "KeyFrameReply"}
    assert info["endpoints"][0]["subject"] == subject
    await served.close()
    with pytest.raises(Unavailable, match="nobody answers"):
        await bus.request_raw(subject, b"{}")


async def until(condition, seconds: float = 5.0) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_what_threads_post_while_the_loop_is_busy_comes_in_order(server: NatsServer, bus: Bus) -> None:
    """One wake-up for all that waits; none is lost, and none too many once the bound is reached."""
    received: list[bytes] = []
    all_there = asyncio.Event()
    numbers = [str(number).encode() for number in range(500)]

    def receive(message: Message) -> None:
        received.append(message.data)
        if message.data == b"end":
            all_there.set()

    subscription = await bus.subscribe("mesh.v1.evt.test.posted.here", receive)
    await bus.flush()

    def post(messages: list[bytes]) -> None:
        for message in messages:
            bus.post_from_thread("mesh.v1.evt.test.posted.here", message)

    for messages in (numbers[:250], [*numbers[250:], b"end"]):
        thread = threading.Thread(target=post, args=(messages,))
        thread.start()
        thread.join(5)  # the loop is busy: all of them wait for it
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await all_there.wait()
    assert received == [*numbers, b"end"]
    thread = threading.Thread(target=post, args=([bytes(1 << 20)] * 17,))
    thread.start()
    thread.join(5)
    assert bus.stats.dropped_full == 1, "16 MiB wait at most"
    await asyncio.sleep(0)
    await subscription.close()

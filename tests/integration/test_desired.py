"""Desired and actual state against a real server: compare-and-set, waiting, and entries nobody can read."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from schemas.commands import StartStream, StopStream, StreamChanged
from schemas.errors import BadRequest, Conflict, NotFound
from schemas.resources import Presence, StreamActual, StreamSpec
from schemas.subjects import presence_key
from shared.bus import Bus
from shared.desired import Desired
from shared.secret_store import SecretField, read_secret
from shared.state import StateMirrors
from tests.support.nats import NatsServer
from tests.support.pace import patience


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    connected = await Bus.connect(server.url, name="test", timeout_seconds=5)
    yield connected
    await connected.drain()


@pytest.fixture
async def mirrors(bus: Bus) -> AsyncIterator[StateMirrors]:
    opened = await StateMirrors.open(bus)
    yield opened
    await opened.close()


@pytest.fixture
def streams(mirrors: StateMirrors) -> Desired[StreamSpec, StreamActual]:
    return Desired("capture", StreamSpec, StreamActual, mirrors)


def spec(stream: str, source: str = "test://") -> StreamSpec:
    return StreamSpec(stream=stream, source=source, node="n1")


async def say(bus: Bus, stream: str, revision: int, state: str) -> None:
    actual = {"stream": stream, "node": "n1", "revision": revision, "state": state}
    await (await bus.bucket("mesh_actual")).put(f"capture.{stream}", msgspec.json.encode(actual))


async def test_the_same_spec_again_changes_nothing_and_a_stale_revision_is_a_conflict(
    streams: Desired[StreamSpec, StreamActual],
) -> None:
    first = await streams.put("cas", spec("cas"), None)
    assert await streams.put("cas", spec("cas"), None) == first
    second = await streams.put("cas", spec("cas", "test://?fps=5"), first)
    assert second > first
    with pytest.raises(Conflict, match=f"is at revision {second}, not {first}"):
        await streams.put("cas", spec("cas", "test://?fps=6"), first)
    with pytest.raises(Conflict):
        await streams.remove("cas", first)
    assert await streams.remove("cas", None) == second
    assert await streams.remove("cas", None) is None


async def test_concurrent_writers_end_with_one_of_them(streams: Desired[StreamSpec, StreamActual]) -> None:
    wishes = [spec("race", f"test://?fps={fps}") for fps in range(1, 6)]
    revisions = await asyncio.gather(*(streams.put("race", wish, None) for wish in wishes))
    assert len(set(revisions)) == len(wishes), "each was written, one after the other"
    async with patience(3):
        while (found := streams.spec("race")) is None or found[1] < max(revisions):
            await asyncio.sleep(0.01)
    assert found[1] == max(revisions)


async def test_a_command_waits_for_the_settled_state_of_its_revision(
    bus: Bus, streams: Desired[StreamSpec, StreamActual]
) -> None:
    request = StartStream(stream="wait", source="test://", wait_s=3)

    async def owner() -> None:
        while (found := streams.spec("wait")) is None:
            await asyncio.sleep(0.01)
        await say(bus, "wait", found[1] - 1, "live")  # of an earlier revision: not the answer
        await say(bus, "wait", found[1], "connecting")  # on its way
        await say(bus, "wait", found[1], "live")

    reply, _ = await asyncio.gather(streams.apply("wait", spec("wait"), request, StreamChanged), owner())
    assert (reply.code, reply.actual and reply.actual.state) == (200, "live")
    quick = StartStream(stream="nobody", source="test://", wait_s=0.1)
    reply = await streams.apply("nobody", spec("nobody"), quick, StreamChanged)
    assert (reply.code, reply.actual) == (202, None), "no owner answers: accepted, with the revision to follow"
    with pytest.raises(NotFound, match=r"capture\.list shows"):
        await streams.withdraw("never", StopStream(stream="never"), StreamChanged)


async def test_an_entry_nobody_can_read_is_left_alone_and_disturbs_no_other(
    bus: Bus, mirrors: StateMirrors, streams: Desired[StreamSpec, StreamActual]
) -> None:
    heard: list[int] = []
    mirrors.on_desired(lambda: heard.append(len(streams.owned("n1"))))
    bucket = await bus.bucket("mesh_desired")
    await bucket.put("capture.hostile", b'{"stream":"hostile","source":"test://","node":"n1","colour":1}')
    await bucket.put("capture.garbage", b"\xff\x00")
    before = len(heard)
    await streams.put("fine", spec("fine"), None)
    async with patience(3):
        while streams.spec("fine") is None or len(heard) <= before:
            await asyncio.sleep(0.01)
    assert "fine" in streams.owned("n1")
    assert not {"hostile", "garbage"} & {resource for resource, *_ in streams.all()}
    await streams.put("hostile", spec("hostile"), None)  # and can be replaced
    await bucket.delete("capture.garbage")


async def test_a_node_must_be_named_when_several_could_own_it(bus: Bus, mirrors: StateMirrors) -> None:
    assert mirrors.choose_node("capture", None, "n1") == "n1"
    assert mirrors.choose_node("capture", "n7", "n1") == "n7"
    bucket = await bus.bucket("mesh_presence")
    for node in ("n1", "n2"):
        presence = Presence(service="capture", node=node, instance="a", version="0", pid=1, started_ns=1)
        await bucket.put(presence_key("capture", node), msgspec.json.encode(presence))
    assert await mirrors.presence.wait_for(lambda entries: len(entries) == 2, 3)
    with pytest.raises(BadRequest, match="node missing: capture runs on n1, n2"):
        mirrors.choose_node("capture", None, "n1")


URL = "rtsp://user:first-password@camera/1"


@pytest.fixture
def guarded(bus: Bus, mirrors: StateMirrors) -> Desired[StreamSpec, StreamActual]:
    """Streams as capture writes them."""
    return Desired("capture", StreamSpec, StreamActual, mirrors, SecretField(bus, "capture", "source"))


async def reference_of(bus: Bus, stream: str) -> str:
    entry = await (await bus.bucket("mesh_desired")).get(f"capture.{stream}")
    assert entry is not None
    assert b"password" not in entry.value
    return msgspec.json.decode(entry.value, type=StreamSpec).source_secret


def start(stream: str, source: str) -> StartStream:
    return StartStream(stream=stream, source=source, wait_s=0)


async def test_a_refused_command_cannot_change_the_secret_in_use(
    bus: Bus, guarded: Desired[StreamSpec, StreamActual]
) -> None:
    revision = await guarded.put("cam0", spec("cam0", URL), None)
    reference = await reference_of(bus, "cam0")
    assert await guarded.put("cam0", spec("cam0", URL), None) == revision, "the same again"
    with pytest.raises(Conflict):
        await guarded.put("cam0", spec("cam0", "rtsp://user:refused-password@camera/1"), revision - 1)
    assert await reference_of(bus, "cam0") == reference
    assert await read_secret(bus, reference) == URL
    assert "first" not in reference
    await guarded.withdraw("cam0", StopStream(stream="cam0", wait_s=0), StreamChanged)
    for gone in (reference, "secret://capture.cam0", "rtsp://x", "secret://@1", "secret://capture.cam0@x"):
        with pytest.raises(NotFound, match="give the full URL again"):
            await read_secret(bus, gone)


async def test_stopping_forgets_the_earlier_secrets_as_well(
    bus: Bus, guarded: Desired[StreamSpec, StreamActual]
) -> None:
    references = []
    for word in ("one", "two"):
        await guarded.put("forget", spec("forget", f"rtsp://user:{word}-password@camera/1"), None)
        references.append(await reference_of(bus, "forget"))
    assert len(set(references)) == 2
    await guarded.withdraw("forget", StopStream(stream="forget", wait_s=0), StreamChanged)
    for reference in references:
        with pytest.raises(NotFound):
            await read_secret(bus, reference)


@pytest.mark.parametrize("again", [URL, "rtsp://user:second-password@camera/1"], ids=["same", "other"])
async def test_what_is_started_while_it_is_being_stopped_keeps_its_secret(
    bus: Bus, guarded: Desired[StreamSpec, StreamActual], again: str
) -> None:
    revision = await guarded.put("phoenix", spec("phoenix", URL), None)
    await say(bus, "phoenix", revision, "live")  # an owner that takes its time
    stop = StopStream(stream="phoenix", wait_s=2)
    async with patience(3):
        while guarded.spec("phoenix") is None:  # the copy of the state has yet to hear of it
            await asyncio.sleep(0.01)
    stopping = asyncio.create_task(guarded.withdraw("phoenix", stop, StreamChanged))
    async with patience(3):
        while guarded.spec("phoenix") is not None:
            await asyncio.sleep(0.01)
    await guarded.put("phoenix", spec("phoenix", again), None)
    await (await bus.bucket("mesh_actual")).delete("capture.phoenix")
    await stopping
    assert await read_secret(bus, await reference_of(bus, "phoenix")) == again


async def test_a_url_without_credentials_forgets_those_before(
    bus: Bus, guarded: Desired[StreamSpec, StreamActual]
) -> None:
    await guarded.apply("open", spec("open", URL), start("open", URL), StreamChanged)
    reference = await reference_of(bus, "open")
    plain = "rtsp://camera/1"
    await guarded.apply("open", spec("open", plain), start("open", plain), StreamChanged)
    assert await reference_of(bus, "open") == ""
    with pytest.raises(NotFound):
        await read_secret(bus, reference)

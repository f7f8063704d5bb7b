"""Taking pictures, events and state through the client library, from a real mesh."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.subjects import DEMAND_BUCKET
from shared.bus import Bus, Mirror
from shared.clients.mesh import (
    BadRequest,
    Conflict,
    InvalidValue,
    NoFrames,
    NoSuchStream,
    NotFound,
    OtherNode,
    PicturesHeld,
    Unavailable,
)
from tests.support.client import async_client
from tests.support.mesh import RunningMesh
from tests.support.pace import slowness

pytestmark = [pytest.mark.alone, pytest.mark.integration]


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh("--demo") as running:
        running.wait_for(lambda: running.actual("streams", "demo"), what="the demo stream")
        yield running


def _mapped_file(address: int) -> str:
    """Which file the memory at `address` belongs to."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, name = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in span.split("-"))
        if start <= address < end:
            return name
    return ""


async def test_pictures_come_in_order_and_differ_and_lie_in_the_ring(mesh):
    sequences, sums = [], set()
    async with async_client(mesh) as app:
        async for frame in app.frames("demo", timeout_seconds=10):
            assert frame.array.shape == (1080, 1280)
            assert not frame.array.flags.writeable
            assert _mapped_file(frame.array.__array_interface__["data"][0]).endswith(frame.ref.ring)
            sequences.append(frame.ref.sequence)
            sums.add(int(frame.array.sum()))
            if len(sequences) == 30:
                break
    assert all(before < after for before, after in itertools.pairwise(sequences))
    assert len(sums) > 25  # the pattern moves


async def test_bgr_is_a_writable_copy_of_the_same_picture(mesh):
    async with async_client(mesh) as app:
        frame = await anext(app.frames("demo", timeout_seconds=10))
        picture = frame.bgr()
        assert picture.shape == (720, 1280, 3)
        luma = (picture.astype(float) @ (0.098, 0.504, 0.257) + 16).mean()  # BT.601, limited range
        assert abs(luma - frame.array[:720].mean()) < 5  # the pattern has colours outside BGR's cube, which are clipped
        picture[:] = 0


async def test_a_slow_loop_gets_the_newest_and_counts_what_it_missed(mesh):
    async with async_client(mesh) as app:
        frames = app.frames("demo", timeout_seconds=10)
        await anext(frames)
        await asyncio.sleep(0.5)
        frame = await anext(frames)
        assert time.time_ns() - frame.ref.captured_ns < 150_000_000 * slowness()
        assert 8 <= frames.counts.missed <= 20
        assert frames.counts.delivered == 2


async def test_a_kept_picture_stays_and_too_many_are_refused(mesh):
    async with async_client(mesh) as app:
        frames = app.frames("demo", timeout_seconds=10)
        kept = [(await anext(frames)).keep() for _ in range(4)]
        before = [frame.array.copy() for frame in kept]
        with pytest.raises(PicturesHeld, match="4 pictures of 'demo' are held"):
            await anext(frames)
        await asyncio.sleep(0.5)  # the writer has gone round its ring twice
        assert all((frame.array == copy).all() for frame, copy in zip(kept, before, strict=True))
        for frame in kept:
            frame.release()
        assert (await anext(frames)).ref.sequence > kept[-1].ref.sequence
        with pytest.raises(RuntimeError, match="released"):
            _ = kept[0].array


async def test_demand_ends_with_the_loop(mesh):
    async with async_client(mesh) as app:
        bus = await Bus.connect(mesh.ready["nats"], name="look", timeout_seconds=5)
        bucket = await bus.bucket(DEMAND_BUCKET)
        key = f"test.demo.raw.{app.name}"
        async for _frame in app.frames("demo", timeout_seconds=10):
            assert key in await bucket.entries()
            break
        gone = Mirror(bucket, key)
        await gone.synced()
        assert await gone.wait_for(lambda entries: not entries, timeout_seconds=2)
        await gone.close()
        await bus.drain()


async def test_state_and_commands(mesh):
    async with async_client(mesh) as app:
        assert {entry.spec.stream for entry in await app.streams()} >= {"demo"}
        assert {found.service for found in (await app.status()).services} >= {"capture", "hw-encode"}
        reply = await app.call("capture.list", stream="demo")
        assert reply["streams"][0]["spec"]["timecode"] is True
        started = await app.start_stream("second", "test://?size=384x216&fps=10")
        assert started.actual is not None
        assert started.actual.state == "live"
        with pytest.raises(Conflict, match="revision"):
            await app.start_stream("second", "test://?size=640x480", revision=started.revision + 1000)
        await app.stop_stream("second")
        with pytest.raises(NotFound, match="second"):
            await app.stop_stream("second")
        with pytest.raises(InvalidValue, match=r"<service>[.]<verb>"):
            await app.call("nonsense")
        with pytest.raises(BadRequest, match=r"fps"):
            await app.start_stream("second", "test://", fps=-1)
        with pytest.raises(Unavailable, match="nobody answers"):
            await app.call("conveyor.start")


async def test_what_was_just_started_can_be_built_on_at_once(mesh):
    async with async_client(mesh) as app:
        for _ in range(20):
            await app.start_stream("quick", "app://")
            await app.start_rendition("quick", "low", bitrate="500k")
            await app.stop_rendition("quick", "low")
            await app.stop_stream("quick")


async def test_events_of_one_stream(mesh):
    async with async_client(mesh) as app, app.events(service="capture", stream="evt") as events:
        await app.start_stream("other", "test://?size=384x216")
        await app.start_stream("evt", "test://?size=384x216")
        await app.stop_stream("evt")
        await app.stop_stream("other")
        seen = []
        async with asyncio.timeout(5):
            async for event in events:
                seen.append((event.id, event.event, event.state))
                if event.event == "removed":
                    break
    assert {found[0] for found in seen} == {"evt"}
    assert ("evt", "state", "live") in seen


async def test_errors_teach(mesh, tmp_path):
    async with async_client(mesh) as app:
        with pytest.raises(NoSuchStream, match=r"'dmeo' does not exist \(there are: demo\)"):
            await anext(app.frames("dmeo", timeout_seconds=0.3))
        await app.start_stream("idle", "app://")
        with pytest.raises(NoFrames, match="its source is an application, and none writes it"):
            await anext(app.frames("idle", timeout_seconds=0.3))
        await app.stop_stream("idle")
        with pytest.raises(Unavailable, match="refuses the connection"):
            await app.start_stream("lost", "rtsp://127.0.0.1:9/x")
        with pytest.raises(NoFrames, match="it is reconnecting: "):
            await anext(app.frames("lost", timeout_seconds=0.3))
        await app.stop_stream("lost")
    async with async_client(mesh, node="elsewhere") as app:
        with pytest.raises(OtherNode, match=r"on node 'test', this application is on node 'elsewhere'") as caught:
            await anext(app.frames("demo"))
        assert caught.value.node == "test"
    async with async_client(mesh, shm_dir=tmp_path) as app:
        with pytest.raises(NoFrames, match=rf"set FRAMEMESH_SHM_DIR={mesh.shm_dir}"):
            await anext(app.frames("demo", timeout_seconds=0.5))
    with pytest.raises(Unavailable, match=r"no NATS server at nats://127\.0\.0\.1:9 "):
        async with async_client(mesh, nats_url="nats://127.0.0.1:9", timeout_seconds=0.5):
            pass
    with pytest.raises(InvalidValue, match="node"):
        async with async_client(mesh, node="Bad Node"):
            pass

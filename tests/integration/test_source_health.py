"""Whether a stream's state is the truth at any moment: stalled, frozen, lost, waited for; what is seen meanwhile."""

import asyncio
import itertools
import signal
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest

from schemas.errors import NotFound, Unavailable
from shared.clients.mesh import AsyncMesh
from tests.support.client import async_client
from tests.support.lavfi import FREEZING, udp_camera
from tests.support.mesh import RunningMesh
from tests.support.peers import free_port
from tests.support.state_log import StateLog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

STALL_SECONDS = 1.0  # of a camera with 25 pictures/s
NOTICED_SECONDS = 2.0  # beyond the threshold, on a machine that does other things too
READ_TIMEOUT_SECONDS = 4
STILL_SECONDS = 7.0  # of FREEZING


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT_SECONDS)}) as running:
        yield running


def send_signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> float:
    """Signal a sender; monotonic seconds."""
    process.send_signal(number)
    return time.monotonic()


async def test_a_sender_that_is_held_up_stalls_and_is_opened_again(mesh: RunningMesh) -> None:
    port = free_port()
    async with async_client(mesh) as app:
        with udp_camera(port) as sender:
            await app.start_stream("held", f"udp://127.0.0.1:{port}", wait_s=10)
            async with StateLog.watching(app, "held") as log:
                await log.until(lambda sample: sample.state == "live" and sample.stats["fps"] > 20)
                await asyncio.sleep(1)  # the usual distance of pictures is learned
                stopped = send_signal(sender, signal.SIGSTOP)
                stalled = await log.reaches("stalled")
                assert STALL_SECONDS <= stalled.at - stopped < STALL_SECONDS + NOTICED_SECONDS
                assert stalled.stats["status"] == 4
                assert "no picture for 1." in stalled.stats["error"]["message"]
                continued = send_signal(sender, signal.SIGCONT)
                live = await log.reaches("live")
                print(f"stalled after {stalled.at - stopped:.2f} s, live {live.at - continued:.2f} s after the first")
                assert live.at - continued < 1
                assert live.stats["stalls"] == 1
                assert live.stats["restarts"] == 0
                assert live.stats["error"] is None

                await asyncio.sleep(2)  # what that pause has taught is forgotten
                stopped = send_signal(sender, signal.SIGSTOP)
                lost = await log.reaches("reconnecting")
                assert READ_TIMEOUT_SECONDS - 0.5 < lost.at - stopped < READ_TIMEOUT_SECONDS + NOTICED_SECONDS
                send_signal(sender, signal.SIGCONT)
                await log.reaches("live")
                shown = log.states(stopped + STALL_SECONDS + NOTICED_SECONDS)
                assert "live" not in shown[:-1], "nothing came"
                assert shown[-1] == "live"
        await app.stop_stream("held")


@pytest.mark.parametrize(
    "looked_at", [pytest.param(False, marks=pytest.mark.long), True], ids=["nobody looks", "somebody looks"]
)
async def test_a_picture_that_stands_still(mesh: RunningMesh, looked_at: bool) -> None:
    port, after = free_port(), 2.0
    async with async_client(mesh) as app, asyncio.TaskGroup() as tasks:
        with udp_camera(port, FREEZING):
            await app.start_stream("still", f"udp://127.0.0.1:{port}", frozen_after=f"{after:g}s", wait_s=10)
            looking = tasks.create_task(look(app, "still")) if looked_at else None
            async with StateLog.watching(app, "still") as log:
                frozen = await log.reaches("frozen", 15)
                assert frozen.stats["status"] == 4
                assert frozen.stats["fps"] > 20, "the source sends all the time"
                assert (frozen.stats["decoded_fps"] > 20) is looked_at
                moving = await log.reaches("live", 20)
                still_seconds = moving.at - frozen.at
                print(f"frozen for {still_seconds:.1f} s of the {STILL_SECONDS:g} that the picture stood still")
                assert STILL_SECONDS - after - NOTICED_SECONDS < still_seconds < STILL_SECONDS - after + NOTICED_SECONDS
                assert moving.stats["freezes"] == 1
                assert moving.stats["stalls"] == 0
            if looking:
                looking.cancel()
        await app.stop_stream("still")


async def look(app: AsyncMesh, stream: str) -> None:
    async for _frame in app.frames(stream, timeout_seconds=30):
        pass


async def test_the_last_picture_is_held(mesh: RunningMesh) -> None:
    port = free_port()
    async with async_client(mesh) as app:
        with udp_camera(port):
            await app.start_stream("hold", f"udp://127.0.0.1:{port}", stall_after="500ms", wait_s=10)
            last, last_picture = None, np.empty(0)
            async with StateLog.watching(app, "hold") as log:
                async for frame in app.frames("hold", timeout_seconds=10):
                    last, last_picture = frame.ref, frame.array.copy()
                    if frame.ref.sequence == 30:
                        break
        # The sender is dead. Somebody who joins only now gets its last picture, as old as it is.
        held = []
        async with StateLog.watching(app, "hold") as log:
            await log.reaches("stalled")
            async for frame in app.frames("hold", timeout_seconds=10):
                held.append((frame.ref, frame.array.copy()))
                if len(held) == 5:
                    break
            assert set(log.states(0)) <= {"live", "stalled", "reconnecting"}
            written = log.samples[-1].stats
        assert last is not None
        assert held[0][0].epoch == last.epoch
        pts = [ref.pts_ns for ref, _ in held]
        assert all(0.3e9 < after - before < 2e9 for before, after in itertools.pairwise(pts)), pts
        assert pts[0] > last.pts_ns
        assert len({ref.captured_ns for ref, _ in held}) == 1, "a held picture does not become younger"
        assert held[0][0].captured_ns >= last.captured_ns
        assert held[0][1].shape == last_picture.shape
        assert all((picture == held[0][1]).all() for _, picture in held)
        assert written["decoded_fps"] == 0, "what is held is none of the source's"
        await app.stop_stream("hold")


async def test_a_slate_of_a_camera_that_was_never_there(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        source = f"rtsp://127.0.0.1:{free_port()}/gone"
        with pytest.raises(Unavailable, match="refuses the connection"):
            await app.start_stream("gone", source, on_loss="slate", size="320x180")
        async for frame in app.frames("gone", timeout_seconds=10):
            assert (frame.ref.width, frame.ref.height) == (320, 180)
            luma = frame.array[:180].astype(int)
            break
        text = luma > 150
        rows = np.flatnonzero(text.any(axis=1))
        assert 30 < rows.min() < 90 < rows.max() < 150, "lines of letters in the middle"
        assert 0.01 < text.mean() < 0.1
        assert np.median(luma) < 90, "calm and dark"
        assert np.abs(np.diff(np.median(luma, axis=1))).max() <= 2
        stats = await app.call("capture.gone.stats")
        assert stats["state"] == "reconnecting"
        await app.stop_stream("gone")


async def test_nothing_stands_in_when_that_is_asked(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        with pytest.raises(Unavailable, match="refuses the connection"):
            await app.start_stream("none", f"rtsp://127.0.0.1:{free_port()}/gone", on_loss="none", size="320x180")
        frames = app.frames("none", timeout_seconds=2)
        with pytest.raises(Unavailable):
            await anext(frames)
        await frames.aclose()
        await app.stop_stream("none")


async def test_an_applications_stream_is_live_while_one_writes(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        reply = await app.start_stream("mine", "app://", audio=False)
        assert reply.actual is not None
        assert (reply.code, reply.actual.state, reply.actual.waiting_for) == (200, "connecting", "the application")
        async with StateLog.watching(app, "mine") as log:
            async with app.publish("mine", width=320, height=180, pixel_format="gray", fps=20) as stream:
                for number in range(40):
                    await stream.write(np.full((180, 320), number, np.uint8))
                    await asyncio.sleep(0.05)
                live = await log.reaches("live", 2)
                assert (live.stats["source_width"], live.stats["source_height"]) == (320, 180)
            since = time.monotonic()
            await log.reaches("connecting", 2)
            assert log.states(0)[-2:] == ["live", "connecting"]
            assert time.monotonic() - since < 1
        await app.stop_stream("mine")


async def test_what_can_never_be_played_has_failed(mesh: RunningMesh) -> None:
    path = mesh.media_dir / "text.mp4"
    async with async_client(mesh) as app:
        with pytest.raises(NotFound):
            await app.start_stream("late", "file://text.mp4")
        assert (await app.call("capture.late.stats"))["state"] == "reconnecting", "it may be put there"
        path.write_bytes(b"this is no video at all " * 100)
        async with StateLog.watching(app, "late") as log:
            failed = await log.reaches("failed")
            assert "not media" in failed.stats["error"]["message"]
        await app.stop_stream("late")

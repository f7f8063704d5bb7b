"""nats-server killed or frozen while a clip plays: the frame path does not notice, and all else comes back."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.support.console import console_page
from tests.support.counter_watch import CounterWatch
from tests.support.mesh import RunningMesh, bunny
from tests.support.pace import slowness
from tests.support.picture_watch import PictureWatch

pytestmark = [pytest.mark.alone, pytest.mark.chaos, pytest.mark.browser, pytest.mark.timeout(120)]

STREAM = "cam0"
CLIP_FPS = 25
BACK_SECONDS = 2.0 * slowness()
ACTS_SECONDS = 2.0 * slowness()
FRAME_PATH_PAUSE_SECONDS = 0.5 * slowness()  # a scrape, a busy machine; a blocked frame path stands still for seconds


class Playing(NamedTuple):
    mesh: RunningMesh
    watch: PictureWatch

    def frames(self) -> CounterWatch:
        """Pictures that capture writes into the ring."""
        return CounterWatch(self.mesh.ready["metrics"]["capture"], "framemesh_capture_frames_total", stream=STREAM)


@pytest.fixture(scope="module")
def playing() -> Iterator[Playing]:
    with RunningMesh("--source", str(bunny())) as mesh, console_page() as console:
        mesh.call("publisher.start", stream=STREAM, output="rec", to="file://rec/{start}.mp4", wait_s=10)
        console.open(mesh.console)
        watch = PictureWatch(console.page, STREAM)
        watch.wait_for_pictures(CLIP_FPS)
        yield Playing(mesh, watch)


def _settled(mesh: RunningMesh) -> Any:
    """What of the status must be the same afterwards."""
    status = mesh.status()
    return {
        "services": sorted((one["service"], one["instance"]) for one in status["services"]),
        **{
            kind: [
                (
                    one["revision"],
                    one["spec"],
                    {k: (one["actual"] or {}).get(k) for k in ("state", "epoch", "run", "error")},
                )
                for one in status[kind]
            ]
            for kind in ("streams", "renditions", "outputs")
        },
    }


def _kill_nats(mesh: RunningMesh) -> None:
    """Returns when another one listens."""
    killed = mesh.kill("nats-server")
    mesh.wait_for(lambda: mesh.pids().get("nats-server", killed) != killed, 5, "another nats-server")
    address = urlsplit(mesh.ready["nats"])
    mesh.wait_for(lambda: _listens(str(address.hostname), int(address.port or 0)), 5, "nats-server listening")


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def test_nats_killed(playing: Playing) -> None:
    mesh, watch = playing
    before = _settled(mesh)
    with playing.frames() as frames:
        since_ms = watch.now_ms()
        began = time.monotonic()
        _kill_nats(mesh)
        away = time.monotonic() - began
        time.sleep(0.5)  # the promise is about a command of this moment
        began = time.monotonic()
        reply = mesh.call("capture.start", stream="extra", source="test://?size=640x360&fps=5", wait_s=5)
        acted = time.monotonic() - began
        gap = watch.gap_after(since_ms)
    print(
        f"nats away {away:.2f} s, picture gap {gap.seconds:.2f} s, back after {gap.back_after_seconds:.2f} s, "
        f"command acted on in {acted:.2f} s, frame path paused {frames.longest_pause_seconds:.2f} s at most"
    )
    assert reply["code"] == 200
    assert reply["actual"]["state"] == "live"
    assert acted < ACTS_SECONDS
    assert gap.back_after_seconds < away + BACK_SECONDS
    assert frames.longest_pause_seconds < FRAME_PATH_PAUSE_SECONDS
    assert frames.per_second > 0.9 * CLIP_FPS
    mesh.call("capture.stop", stream="extra")
    mesh.wait_for(lambda: _settled(mesh) == before, 10, f"the same state as before: {before} {_settled(mesh)}")


def test_nats_killed_three_times_in_a_row(playing: Playing) -> None:
    mesh, watch = playing
    before = _settled(mesh)
    with playing.frames() as frames:
        since_ms = watch.now_ms()
        for _ in range(3):
            _kill_nats(mesh)
            time.sleep(0.1)  # some clients are back, some are not
        gap = watch.gap_after(since_ms)
    print(f"picture gap {gap.seconds:.2f} s, back after {gap.back_after_seconds:.2f} s")
    assert frames.longest_pause_seconds < FRAME_PATH_PAUSE_SECONDS
    mesh.wait_for(lambda: _settled(mesh) == before, 10, f"the same state as before: {before}")


@pytest.mark.parametrize("frozen_seconds", [5.0, pytest.param(8.0, marks=pytest.mark.long)])
def test_nats_frozen(playing: Playing, frozen_seconds: float) -> None:
    """5 s is within the clients' patience, 8 s is not: they give the connection up and make another."""
    mesh, watch = playing
    before = _settled(mesh)
    pid = mesh.pids()["nats-server"]
    with playing.frames() as frames:
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(frozen_seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        since_ms = watch.now_ms()
        watch.wait_for_pictures(CLIP_FPS, since_ms, 10)
        back = (watch.pictures_since(since_ms)[0] - since_ms) / 1e3
    print(
        f"nats frozen {frozen_seconds} s: picture back {back:.2f} s after, "
        f"frame path paused {frames.longest_pause_seconds:.2f} s at most"
    )
    assert back < BACK_SECONDS
    assert frames.longest_pause_seconds < FRAME_PATH_PAUSE_SECONDS
    mesh.wait_for(lambda: _settled(mesh) == before, 15, f"the same state as before: {json.dumps(before)}")


def test_capture_frozen(playing: Playing) -> None:
    mesh, watch = playing
    pid = mesh.pids()["capture"]
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(3)
    finally:
        os.kill(pid, signal.SIGCONT)
    since_ms = watch.now_ms()
    gap = watch.gap_after(since_ms)
    print(f"capture frozen 3 s: picture steady again {gap.back_after_seconds:.2f} s after")
    assert gap.back_after_seconds < BACK_SECONDS
    assert mesh.pids()["capture"] == pid
    with playing.frames() as frames:
        watch.wait_for_pictures(2 * CLIP_FPS, watch.now_ms())
    assert frames.per_second == pytest.approx(CLIP_FPS, rel=0.15), "the lost time is not caught up in a rush"

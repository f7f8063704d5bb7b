"""A sender that dies behind a real RTMP server: hold, slate and hide in pixels, silence, and its pictures again."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from schemas.frames import FrameRef
from schemas.mix_resources import Box, MixInput, MixSpec, OnInputLoss
from services.cloud_mix_proxy.mixer.protocol import Report
from tests.support.mixer import Mixer, MixerRig, Watched, stream_state, watched
from tests.support.pace import slowness
from tests.support.peers import RtmpServer, rtmp_server

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(90)]

CHOICES: tuple[OnInputLoss, ...] = ("hold", "slate", "hide")
WIDTH, HEIGHT = 320, 180
BACK_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 5.0  # as it comes: after that capture connects again
LOST_SECONDS = 2.0  # as it comes
KEY_INTERVAL = 250  # pictures: what encoders do that are not told; who waited for the second one would wait for 8 s


@pytest.fixture
def rtmp(tmp_path: Path) -> Iterator[RtmpServer]:
    with rtmp_server(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def rig() -> Iterator[MixerRig]:
    with MixerRig.running() as running:
        yield running


def publish(url: str, seconds: int = 60) -> "subprocess.Popen[bytes]":
    pictures = f"testsrc2=size={WIDTH}x{HEIGHT}:rate=30:duration={seconds}"
    command = ["ffmpeg", "-v", "fatal", "-re", "-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", "sine=1000"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(KEY_INTERVAL)]
    return subprocess.Popen([*command, "-c:a", "aac", "-shortest", "-f", "flv", url], stdin=subprocess.DEVNULL)


def tiles(array: npt.NDArray[Any], ref: FrameRef) -> list[npt.NDArray[Any]]:
    """The luma of each input's place."""
    return [array[:HEIGHT, left : left + WIDTH].copy() for left in range(0, len(CHOICES) * WIDTH, WIDTH)]


def loudest(out: Watched, since_ns: int) -> int:
    """Of the sound whose moment is after this one."""
    return max((int(np.abs(block).max()) for header, block in out.blocks if header.captured_ns > since_ns), default=-1)


def states(report: Report) -> set[str]:
    return {one.state for one in report.inputs}


async def test_it_is_lost_as_chosen_and_back_at_once(rig: MixerRig, rtmp: RtmpServer) -> None:
    slow = slowness()  # measured before there is anything to be late for
    sender: subprocess.Popen[bytes] | None = None
    async with rig.bus() as bus, Mixer.running(rig, "lost") as mixer:
        try:
            # Capture writes the last picture again while the sender is away: that must not count as news.
            await rig.start_streams(bus, {"camera": rtmp.url})
            inputs = tuple(
                MixInput(
                    input=choice,
                    source="mesh://camera",
                    on_loss=choice,
                    box=Box(x=number * WIDTH, y=0, width=WIDTH, height=HEIGHT),
                )
                for number, choice in enumerate(CHOICES)
            )
            size = f"{len(CHOICES) * WIDTH}x{HEIGHT}"
            await mixer.show(MixSpec(mix="lost", inputs=inputs, layout="free", size=size, background="#000000"))
            sender = publish(rtmp.url)
            await mixer.wait_for(lambda report: states(report) == {"live"})
            async with watched(rig, bus, "lost", tiles) as out:
                await out.wait_for(45)
                live = await out.until(lambda _: True)
                assert min(tile.std() for tile in live) > 20, "the same picture three times"
                sender.kill()
                sender.wait()
                died, died_ns = time.monotonic(), time.time_ns()
                report = await mixer.wait_for(lambda report: states(report) == {"lost"})
                seconds = time.monotonic() - died
                assert LOST_SECONDS - 0.2 < seconds < (LOST_SECONDS + 1.5) * slow, seconds
                await out.wait_for(10)
                now = [look for look in out.looks[-10:] if look is not None]
                hold, slate, hidden = now[-1]
                assert np.array_equal(now[0][0], hold), "nothing moves"
                assert hold.std() > 20
                assert (hidden == 16).all(), "the canvas beneath it"
                assert 0 < slate.std() < 30, "its name on a plain ground"
                assert abs(slate.astype(int) - hold).mean() > 10
                assert loudest(out, died_ns + 1_000_000_000) == 0, "silence, and sound of it"
                sender = publish(rtmp.url)
                began = time.monotonic()
                await out.until(lambda look: abs(look[2].astype(int) - 16).mean() > 10)
                back_seconds, away_seconds = time.monotonic() - began, began - died
                print(f"lost after {seconds:.2f} s, back {back_seconds:.2f} s after its sender was started")
                kept = away_seconds < READ_TIMEOUT_SECONDS - 1
                # A connection that is made just then may miss the first key picture.
                assert back_seconds < BACK_SECONDS * slow + (0 if kept else KEY_INTERVAL / 30)
                back_ns = time.time_ns()
                await mixer.wait_for(lambda report: states(report) == {"live"})
                await out.wait_for(30)
                assert loudest(out, back_ns) > 5_000
                camera = await stream_state(bus, "camera")
                assert camera is not None
                assert camera.restarts == 0 or not kept, "the same connection"
                epochs = {ref.epoch for ref in out.refs}
                stamps = [ref.pts_ns for ref in out.refs]
                assert (len(epochs), stamps) == (1, sorted(set(stamps))), "the mix has gone on through all of it"
            assert report.late < 30 * slow
        finally:
            if sender is not None:
                sender.kill()
                sender.wait()

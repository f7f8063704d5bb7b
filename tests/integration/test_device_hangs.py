"""A camera whose driver never returns: commands to it have a deadline, and nobody else is held up."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.subjects import PREFIX
from shared.bus import Bus
from tests.support.mesh import RunningMesh
from tests.support.v4l2 import FakeCameras, needs_gcc

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90), needs_gcc]

CAMERA = "v4l2:///dev/video10"
STARTS = 8  # more than the event loop has threads, on any machine with two cores
ANSWER_SECONDS = 9.0  # 6 s for the camera, and a loaded machine
QUICK_SECONDS = 3.0
END_SECONDS = 12.0


@pytest.fixture
def cameras(tmp_path: Any) -> Iterator[FakeCameras]:
    fake = FakeCameras(tmp_path)
    yield fake
    fake.close()


@pytest.mark.long
def test_a_camera_that_hangs_holds_nobody_up(cameras: FakeCameras) -> None:
    with RunningMesh(environment=cameras.environment) as mesh:
        mesh.call("capture.start", stream="other", source="test://?size=640x360&fps=5")
        cameras.webcam.hanging = 1
        asyncio.run(_commands(mesh.ready["nats"]))
        capture = mesh.pids()["capture"]
        os.kill(capture, signal.SIGTERM)
        mesh.wait_for(lambda: mesh.pids().get("capture") != capture, END_SECONDS, "capture ends")
        cameras.webcam.hanging = 0


@pytest.mark.long
def test_a_stream_of_a_camera_that_hangs_can_be_stopped(cameras: FakeCameras) -> None:
    """Also where sources may be silent for longer than the reconciler waits for a step."""
    patient = {"FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": "60"}
    with RunningMesh(environment=cameras.environment | patient) as mesh:
        mesh.call("capture.start", stream="cam", source=CAMERA)
        assert mesh.call("capture.cam.snapshot")["width"]
        assert mesh.rings()
        cameras.webcam.hanging = 1
        mesh.call("capture.stop", stream="cam", wait_s=0)
        mesh.wait_for(lambda: not mesh.rings(), END_SECONDS, "its ring is gone")
        cameras.webcam.hanging = 0


async def _commands(nats: str) -> None:
    bus = await Bus.connect(nats, name="test", timeout_seconds=3)

    async def call(subject: str, seconds: float, **request: Any) -> None:
        await bus.request_raw(f"{PREFIX}.cmd.capture.{subject}", json.dumps(request).encode(), seconds)

    try:
        async with asyncio.TaskGroup() as all_at_once:
            for number in range(STARTS):
                all_at_once.create_task(call("start", ANSWER_SECONDS, stream=f"hung{number}", source=CAMERA, wait_s=0))
            await asyncio.sleep(1)  # they are all with the camera
            began = time.monotonic()
            await call("other.configure", ANSWER_SECONDS, profile={"crop": "320x180+0+0"})
            assert time.monotonic() - began < QUICK_SECONDS, "another stream's command"
    finally:
        await bus.drain()

"""Settings that change while a stream runs, or that cannot be had: the state says so once, and pictures go on."""

import asyncio
import shutil
import time
from collections.abc import Iterator

import av
import numpy as np
import pytest

from schemas.errors import BadRequest
from tests.support.client import async_client
from tests.support.mesh import RunningMesh, bunny
from tests.support.state_log import StateLog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

TIMEOUT_SECONDS = 0.5  # of opening and of reading: a source may take eight times as long to open


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    environment = {f"FRAMEMESH_CAPTURE_{name}_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS) for name in ("OPEN", "READ")}
    with RunningMesh(environment=environment) as running:
        shutil.copy(bunny(), running.media_dir / "bunny.mp4")
        yield running


async def test_an_application_is_waited_for_as_long_as_it_takes(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        await app.start_stream("mine", "app://", audio=False)
        async with StateLog.watching(app, "mine") as log:
            await asyncio.sleep(6)
            assert log.states(0) == ["connecting"]
            assert log.samples[-1].stats["restarts"] == 0
        with pytest.raises(BadRequest, match="frozen_after"):
            await app.start_stream("mine", "app://", frozen_after="2s")
        await app.stop_stream("mine")


async def test_pictures_that_are_no_longer_judged_are_not_frozen(mesh: RunningMesh) -> None:
    with av.open(str(mesh.media_dir / "still.mkv"), "w") as file:
        video = file.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for _ in range(50):
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.full((360, 320), 90, np.uint8), format="yuv420p")))
        file.mux(video.encode(None))
    async with async_client(mesh) as app:
        source = f"file://{mesh.media_dir}/still.mkv"
        await app.start_stream("still", source, frozen_after="1s")
        async with StateLog.watching(app, "still") as log:
            await log.reaches("frozen")
            await app.start_stream("still", source)
            since = time.monotonic()
            await log.reaches("live", 2)
            await asyncio.sleep(2)
            assert log.states(since)[-1] == "live"
        await app.stop_stream("still")


async def test_what_cannot_be_had_of_the_pictures_is_refused_beside_them(mesh: RunningMesh) -> None:
    source = f"file://{mesh.media_dir}/bunny.mp4"
    async with async_client(mesh) as app, app.frames("clip", timeout_seconds=10) as seen:
        started = await app.start_stream("clip", source)
        assert started.actual is not None
        await anext(seen)
        async with StateLog.watching(app, "clip") as log:
            since = time.monotonic()
            for wanted in ({"pixel_format": "bayer_rggb8"}, {"crop": "1280x720+2+0"}):
                with pytest.raises(BadRequest, match=next(iter(wanted))):
                    await app.start_stream("clip", source, **wanted)
                for _ in range(20):
                    frame = await anext(seen)
                    assert (frame.ref.width, frame.ref.height, frame.ref.pixel_format) == (1280, 720, "yuv420p")
                assert next(iter(wanted)) in log.samples[-1].stats["error"]["message"]
            changed = await app.start_stream("clip", source, crop="640x360+0+0")
            assert changed.actual is not None
            assert (changed.actual.error, changed.actual.epoch) == (None, started.actual.epoch)
            assert log.states(since) == ["live"]
            assert log.samples[-1].stats["restarts"] == 0
        await app.stop_stream("clip")

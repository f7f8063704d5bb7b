"""What a rendition shows, in a running mesh: sizes and fits, shared conversions, queues, B-frames in files and RTMP."""

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from schemas.errors import BadRequest
from schemas.resources import RenditionActual
from shared.clients.mesh import AsyncMesh
from tests.support.client import Viewer, async_client
from tests.support.mesh import RunningMesh
from tests.support.metrics import total
from tests.support.peers import NGINX_RTMP_MODULE, probe, rtmp_server, wait_until

pytestmark = pytest.mark.integration

WIDTH, HEIGHT, FPS = 640, 360, 30
RED, BLUE, WHITE, BLACK = (40, 60, 200), (180, 120, 30), (235, 235, 235), (0, 0, 0)  # BGR
_PIXELS_OFF = 14  # at 4 Mbit/s, beside edges
_LOOK_AT = Path(os.environ.get("FRAMEMESH_TEST_PICTURES", ""))
"""Where pictures are left to be looked at, when it is set."""


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def card() -> npt.NDArray[np.uint8]:
    """Red and blue halves, a white disc of 160 pixels in the middle, white edges of 40 pixels left and right."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :] = RED, BLUE
    picture[:, :40] = picture[:, -40:] = WHITE
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    picture[(y - HEIGHT / 2) ** 2 + (x - WIDTH / 2) ** 2 < 80**2] = WHITE
    return picture


@contextlib.asynccontextmanager
async def showing(app: AsyncMesh, stream: str) -> AsyncIterator[None]:
    """The card, 30 times a second."""

    async def write() -> None:
        picture = card()
        async with app.publish(stream, width=WIDTH, height=HEIGHT, fps=FPS) as published:
            ready.set()
            while True:
                await published.write(picture)
                await asyncio.sleep(1 / FPS)

    ready = asyncio.Event()
    task = asyncio.create_task(write())
    await ready.wait()
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def rendition_actual(app: AsyncMesh, stream: str, rendition: str = "main") -> RenditionActual:
    """What is, as the state says."""
    entries = (await app.status()).renditions
    found = next(entry.actual for entry in entries if (entry.spec.stream, entry.spec.rendition) == (stream, rendition))
    assert found is not None
    return found


def disc(picture: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of what is white through the middle."""
    white = (picture > 200).all(2)
    return int(white[len(white) // 2, 80:-80].sum()), int(white[:, picture.shape[1] // 2].sum())


def near(picture: npt.NDArray[np.uint8], y: int, x: int, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(picture[y, x].astype(int) - colour).max() <= _PIXELS_OFF)


async def test_each_fit_shows_what_it_says_and_renditions_share_conversions(mesh: RunningMesh) -> None:
    renditions = {
        "main": {},
        "twin": {"preset": "superfast"},
        "box": {"size": "320x320"},
        "cut": {"size": "320x320", "fit": "cover"},
        "flat": {"size": "320x320", "fit": "fill"},
    }
    async with async_client(mesh) as app, showing(app, "cam0"), contextlib.AsyncExitStack() as stack:
        viewers: dict[str, Viewer] = {}
        for name, fields in renditions.items():
            await app.start_rendition("cam0", name, encoder="software", **fields)
            viewers[name] = await stack.enter_async_context(Viewer.watching(mesh, "cam0", name))
        for viewer in viewers.values():
            await viewer.until(20)
        metrics = mesh.ready["metrics"]["hw-encode"]

        def figures() -> tuple[float, float, float]:
            names = ("converted_frames", "shared_frames", "frames")
            return tuple(total(metrics, f"framemesh_hw_encode_{name}_total", stream="cam0") for name in names)  # type: ignore[return-value]

        before = await asyncio.to_thread(figures)
        await asyncio.gather(*(viewer.until(len(viewer.pictures) + 30) for viewer in viewers.values()))
        converted, shared, encoded = np.subtract(await asyncio.to_thread(figures), before)
        # Of each picture four conversions for five renditions, and all five take the whole one or scale from it.
        assert 0.7 * encoded < converted < 0.95 * encoded, (converted, shared, encoded)
        assert 0.5 * encoded < shared, (converted, shared, encoded)

        pictures = {name: viewer.pictures[max(viewer.pictures)] for name, viewer in viewers.items()}
        if _LOOK_AT.name:
            for name, picture in pictures.items():
                av.VideoFrame.from_ndarray(picture, format="bgr24").save(_LOOK_AT / f"{name}.png")
        assert pictures["main"].shape == pictures["twin"].shape == (HEIGHT, WIDTH, 3)
        box, cut, flat = pictures["box"], pictures["cut"], pictures["flat"]
        assert box.shape == cut.shape == flat.shape == (320, 320, 3)
        assert near(box, 20, 160, BLACK)
        assert near(box, 300, 160, BLACK)
        assert near(box, 160, 10, WHITE)
        assert near(box, 100, 60, RED)
        assert near(cut, 20, 10, RED), "the white edges are cut away"
        assert near(cut, 20, 310, BLUE)
        assert near(flat, 10, 10, WHITE), "down to the corner"
        for picture, wanted in ((box, (80, 80)), (cut, (142, 142)), (flat, (80, 142))):
            assert np.abs(np.subtract(disc(picture), wanted)).max() <= 4, (disc(picture), wanted)

        run = (await rendition_actual(app, "cam0", "box")).run
        await app.start_rendition("cam0", "box", encoder="software", size="200x100", fit="cover")
        viewer = viewers["box"]
        async with asyncio.timeout(10):
            while viewer.pictures[max(viewer.pictures)].shape != (100, 200, 3):
                await viewer.until(len(viewer.pictures) + 1)
        actual = await rendition_actual(app, "cam0", "box")
        assert actual.video is not None
        assert (actual.video.width, actual.video.height, actual.state) == (200, 100, "running")
        assert actual.run == run, "viewers carry on"


async def test_a_queue_is_bounded_by_the_ring_and_what_cannot_be_is_refused(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app, showing(app, "cam1"):
        for fields, words in (
            ({"when_full": "block"}, "when_full 'block': cam1 is live, its writer waits for nobody; use drop-oldest"),
            ({"size": "321x180"}, "size '321x180': write WIDTHxHEIGHT, even"),
            ({"codec": "vp8", "b_frames": 1}, "b_frames 1: vp8 has none; leave it out"),
        ):
            with pytest.raises(BadRequest, match=re.escape(words)):
                await app.start_rendition("cam1", **fields)
        with pytest.raises(BadRequest, match="queue"):
            await app.call("hw-encode.start", stream="cam1", queue=17)
        await app.start_rendition("cam1", encoder="software", queue=16, when_full="refuse", always=True)
        async with Viewer.watching(mesh, "cam1") as viewer:
            await viewer.until(10)
        actual = await rendition_actual(app, "cam1")
        assert (actual.state, actual.queue) == ("running", 4), "eight slots, four of them for others"


async def test_block_has_the_writer_of_a_lossless_stream_wait(mesh: RunningMesh) -> None:
    async with async_client(mesh) as app:
        async with app.publish(
            "line1", width=320, height=180, fps=30, delivery="lossless", consumer="hw-encode-x"
        ) as stream:
            await app.start_rendition("line1", "x", encoder="software", when_full="block", queue=2, always=True)
            async with Viewer.watching(mesh, "line1", "x") as viewer:
                for number in range(60):
                    await stream.write(np.full((180, 320, 3), 30 + number, np.uint8))
                assert await stream.drain(10)
                await viewer.until(60)
        assert viewer.sequences == list(range(1, 61)), "as fast as it can be encoded, and none is left out"


@pytest.mark.skipif(not NGINX_RTMP_MODULE.exists(), reason="nginx with its RTMP module is not installed")
async def test_b_frames_in_a_file_and_over_rtmp_have_the_right_times(mesh: RunningMesh, tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as server:
        async with async_client(mesh) as app:
            await app.start_stream("cam2", "test://?size=384x216&fps=30")
            await app.start_rendition("cam2", encoder="software", b_frames=3, preset="veryfast", bitrate="400k")
            await app.start_output("cam2", "live", server.url)
            await app.start_output("cam2", "archive", "file://b.mp4")
            wanted = lambda: min(server.recorded_bytes, *(path.stat().st_size for path in archive())) > 60_000  # noqa: E731
            archive = lambda: mesh.media_dir.glob("b*.mp4")  # noqa: E731
            await asyncio.to_thread(wait_until, lambda: any(archive()) and wanted(), 20, "both recorded")
            await app.stop_output("cam2", "archive")
            await app.stop_output("cam2", "live")
            await app.stop_stream("cam2")
        files = [*archive(), *server.recordings]
        assert [path.suffix for path in files] == [".mp4", ".flv"]
        for path in files:
            tracks = probe(path)
            video, sound = tracks["video"], tracks["audio"]
            assert (video.codec, video.width, video.height) == ("h264", 384, 216)
            assert len(set(video.pts)) == len(video.pts) == video.decoded
            assert video.pts != sorted(video.pts), "reordered"
            assert all(before < after for before, after in pairwise(video.dts))
            assert all(decoding <= shown for decoding, shown in zip(video.dts, video.pts, strict=True))
            # The sound of the time before the first picture is left out: what remains begins with it.
            assert -0.002 <= min(sound.pts) - min(video.pts) < 0.06, path.name
            player = ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"]
            done = await asyncio.to_thread(subprocess.run, player, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (0, "")

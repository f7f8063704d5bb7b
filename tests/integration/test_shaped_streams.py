"""Crop, rotate, size, masks and pixel formats through a running mesh: in the ring, and in what is encoded from it."""

import asyncio
import itertools
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.client import Viewer, async_client
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.metrics import total

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Picture = NDArray[np.uint8]
OFFER = (Path(__file__).parents[1] / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()
MASK = {"x": 0.25, "y": 0.25, "width": 0.125, "height": 0.25}
# Of 1280x720: 320 to 480 across, 180 to 360 down. In the crop from (200, 100): 120 to 280, 80 to 260. Turned clockwise,
# the crop's 480 lines become columns from the right: 220 to 400 across, 120 to 280 down; in half the size:
SHAPE: dict[str, Any] = {"crop": "640x480+200+100", "rotate": 90, "size": "240x320", "masks": [MASK]}
MASKED = slice(60, 140), slice(110, 200)
_ALIKE = 6.0  # mean difference; the same picture has 0.5 before it is encoded, one shifted by 16 pixels 15


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        shutil.copy(bunny(), running.media_dir / "bunny.mp4")
        yield running


def start(mesh: RunningMesh, stream: str, **spec: Any) -> Any:
    return mesh.call("capture.start", **{"stream": stream, "source": f"file://{mesh.media_dir}/bunny.mp4"} | spec)


def join(mesh: RunningMesh, stream: str) -> tuple[int, str]:
    """Status and body of a WHEP offer."""
    headers = {"Content-Type": "application/sdp"}
    request = urllib.request.Request(f"{mesh.console}whep/{stream}", data=OFFER, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@cache
def expected() -> NDArray[np.float32]:
    """Every picture of the clip as it shall be, by another way than the service's: whole pictures, and in RGB."""
    pictures = []
    with av.open(str(bunny())) as clip:
        for frame in clip.decode(video=0):
            # The clip says nothing: BT.709, of 720 lines.
            whole = frame.reformat(format="bgr24", src_colorspace="ITU709").to_ndarray()
            whole[180:360, 320:480] = 0
            turned = np.rot90(whole[100:580, 200:840], -1)
            pictures.append(coarse(turned))
    return np.array(pictures, np.float32)


def coarse(picture: Picture) -> NDArray[np.float32]:
    """In 60 x 80 blocks: what scalers and encoders do to details does not count, where things are does."""
    rows, columns = picture.shape[0] // 80, picture.shape[1] // 60
    return picture.reshape(80, rows, 60, columns, 3).mean((1, 3), dtype=np.float32)


def difference(picture: Picture) -> float:
    return float(np.abs(expected() - coarse(picture)).mean((1, 2, 3)).min())


async def test_a_real_clip_is_masked_cropped_turned_and_scaled(mesh: RunningMesh) -> None:
    start(mesh, "cam0", **SHAPE)
    async with (
        async_client(mesh) as app,
        Viewer.watching(mesh, "cam0") as viewer,
        app.frames("cam0", timeout_seconds=10) as seen,
    ):
        for _ in range(12):
            frame = await anext(seen)
            assert (frame.ref.width, frame.ref.height, frame.ref.pixel_format) == (240, 320, "yuv420p")
            luma = frame.array[:320]
            assert (luma[MASKED] == 16).all()
            assert difference(frame.bgr()) < _ALIKE
        await viewer.until(12)
    for picture in viewer.pictures.values():
        assert picture.shape == (320, 240, 3)
        assert difference(picture) < _ALIKE
        rows, columns = MASKED
        core = picture[rows.start + 4 : rows.stop - 4, columns.start + 4 : columns.stop - 4]
        assert core.max() <= 24, "something shows through the mask"


async def test_a_mask_takes_the_streams_own_packets_away(mesh: RunningMesh) -> None:
    before = start(mesh, "private")["actual"]
    assert before["source_tracks"] == ["video", "aac"]
    after = start(mesh, "private", masks=[MASK])["actual"]
    assert after["source_tracks"] == []
    assert after["epoch"] > before["epoch"], "the ring of packets without masks must be gone"
    assert not [name for name in mesh.rings() if name.startswith("private") and f".{before['epoch']}." in name]
    to = f"file://{mesh.media_dir}/leak.mp4"
    with pytest.raises(CallFailed, match="no packets of its own") as refused:
        mesh.call("publisher.start", stream="private", output="leak", rendition="source", to=to)
    assert refused.value.code == 404
    status, body = join(mesh, "private/source")
    assert status == 404
    assert "no packets of its own" in body
    assert join(mesh, "private")[0] == 201
    again = start(mesh, "private", masks=[MASK | {"width": 0.5}])["actual"]
    assert again["epoch"] == after["epoch"], "another mask needs no other source"
    assert start(mesh, "private")["actual"]["source_tracks"] == ["video", "aac"]


async def test_a_crop_changes_while_somebody_looks(mesh: RunningMesh) -> None:
    before = start(mesh, "cam1", crop="320x240+0+0")["actual"]
    async with (
        async_client(mesh) as app,
        Viewer.watching(mesh, "cam1") as viewer,
        app.frames("cam1", timeout_seconds=10) as seen,
    ):
        await anext(seen)
        await viewer.until(3)
        after = start(mesh, "cam1", crop="400x200+80+40", rotate=180)["actual"]
        assert (after["epoch"], after["restarts"]) == (before["epoch"], before["restarts"])
        assert after["state"] == "live"
        sequences, sizes = [], []
        while len(sizes) < 200 and sizes[-5:] != [(400, 200)] * 5:
            frame = await anext(seen)
            assert frame.ref.epoch == before["epoch"]
            sequences.append(frame.ref.sequence)
            sizes.append((frame.ref.width, frame.ref.height))
        assert sizes[-1] == (400, 200)
        assert sequences == sorted(sequences)
        changed = sequences[sizes.index((400, 200))]
        while max(viewer.pictures) < changed + 5:
            await viewer.until(len(viewer.pictures) + 1)
    assert {picture.shape for sequence, picture in viewer.pictures.items() if sequence >= changed} == {(200, 400, 3)}


async def test_pictures_above_the_rate_are_left_out_evenly(mesh: RunningMesh) -> None:
    start(mesh, "slow", fps=10)
    async with async_client(mesh) as app, app.frames("slow", timeout_seconds=10) as seen:
        refs = [(await anext(seen)).ref for _ in range(15)]
    steps = [
        (later.pts_ns - earlier.pts_ns) / 1e6 / (later.sequence - earlier.sequence)
        for earlier, later in itertools.pairwise(refs)
    ]
    assert all(75 <= step <= 125 for step in steps), steps
    mean_ms = (refs[-1].pts_ns - refs[0].pts_ns) / 1e6 / (refs[-1].sequence - refs[0].sequence)
    assert 95 <= mean_ms <= 106
    left_out = total(
        mesh.ready["metrics"]["capture"], "framemesh_capture_dropped_frames_total", stream="slow", reason="fps-limit"
    )
    assert left_out >= 15


def white_bar(picture: Picture) -> float:
    """The pattern's first bar, 75 % white; the ball covers less than half of it."""
    return float(np.median(picture[40:200, 4:84]))


@pytest.mark.parametrize("pixel_format", ["bgr24", "nv12", "gray", "gray12le"])
async def test_pictures_have_the_format_that_is_asked_for(mesh: RunningMesh, pixel_format: str) -> None:
    name = f"as-{pixel_format}"
    start(mesh, name, source="test://?size=640x360", pixel_format=pixel_format)
    async with (
        async_client(mesh) as app,
        Viewer.watching(mesh, name) as viewer,
        app.frames(name, timeout_seconds=10) as seen,
    ):
        frame = await anext(seen)
        assert frame.ref.pixel_format == pixel_format
        assert frame.array.dtype == (np.uint16 if pixel_format == "gray12le" else np.uint8)
        assert abs(white_bar(frame.bgr()) - 191) < 4
        await viewer.until(3)
        encoded = next(iter(viewer.pictures.values()))
        assert abs(white_bar(encoded) - 191) < 6


async def test_a_crop_beyond_the_picture_is_the_streams_error(mesh: RunningMesh) -> None:
    start(mesh, "wide", crop="1280x720+2+0")
    async with Viewer.watching(mesh, "wide"):  # pictures are made only while somebody looks

        def error() -> Any:
            """Not what a source says that has not yet got as far as its pictures."""
            found = (mesh.actual("streams", "wide") or {}).get("error")
            return found if found and found["code"] == 400 else None

        shown = await asyncio.to_thread(mesh.wait_for, error, what="the error")
    assert "crop '1280x720+2+0': the source's pictures are 1280x720" in shown["message"]


def test_streams_of_applications_refuse_masks(mesh: RunningMesh) -> None:
    with pytest.raises(CallFailed, match="masks") as refused:
        start(mesh, "own", source="app://", masks=[MASK])
    assert refused.value.code == 400

"""Folders, image sequences and screens, as pictures that are looked at."""

import base64
import io
import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from schemas.frames import FrameRef
from tests.support.client import client
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.metrics import total
from tests.support.peers import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

_STARTED_SECONDS = 10.0
_DISPLAYS = range(90, 130)
_FRAME_MS = 40  # of the clips


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=60)


def _colour(path: Path, colour: str, size: str = "320x180") -> None:
    _ffmpeg("-f", "lavfi", "-i", f"color=c={colour}:s={size}", "-frames:v", "1", str(path))


def _clip(path: Path, colour: str, seconds: float = 1.0, size: str = "320x180") -> None:
    """A clip of one colour with a tone."""
    sources = ["-f", "lavfi", "-i", f"color=c={colour}:s={size}:r=25", "-f", "lavfi", "-i", "sine=r=48000"]
    _ffmpeg(*sources, "-t", f"{seconds:g}", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(path))


def _snapshot(mesh: RunningMesh, stream: str) -> npt.NDArray[np.uint8]:
    data = base64.b64decode(mesh.call(f"capture.{stream}.snapshot", format="png")["data"])
    with av.open(io.BytesIO(data)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")  # type: ignore[return-value]


def _dropped(mesh: RunningMesh, stream: str) -> dict[str, int]:
    found: dict[str, int] = mesh.call(f"capture.{stream}.stats")["dropped"]
    return found


def test_a_folder_is_one_stream_without_a_step(mesh: RunningMesh) -> None:
    folder = mesh.media_dir / "clips"
    folder.mkdir()
    _clip(folder / "1.mp4", "red")
    _clip(folder / "3.mkv", "blue")
    (folder / "2-notes.txt").write_text("no media")
    (folder / "4-out.mp4").symlink_to(bunny())
    mesh.call("capture.start", stream="folder", source="file://clips")
    seen: list[tuple[FrameRef, str]] = []
    added = False
    with client(mesh) as app, app.frames("folder", timeout_seconds=10) as frames:
        for frame in frames:
            red, green, blue = (int(value) for value in frame.bgr()[90, 160, ::-1])
            colour = max(("red", red), ("green", green), ("blue", blue), key=lambda pair: pair[1])[0]
            seen.append((frame.ref, colour))
            if colour == "blue" and not added:  # what is added meanwhile is found in the next round
                added = True
                _clip(folder / "5.ts", "lime")
            if colour == "green":
                break
            assert len(seen) < 400
    order = [colour for number, (_, colour) in enumerate(seen) if number == 0 or seen[number - 1][1] != colour]
    assert {"red", "blue", "green"} <= set(order)
    at = order.index("green")
    assert order[at - 2 : at] == ["red", "blue"], order
    # Pictures that were not looked at, as while a clip was made, are no step.
    steps_ms = [
        (b.pts_ns - a.pts_ns) / 1e6 - (b.sequence - a.sequence - 1) * _FRAME_MS
        for (a, _), (b, _) in itertools.pairwise(seen)
    ]
    assert 20 < np.median(steps_ms) < 60
    assert all(b.pts_ns > a.pts_ns for (a, _), (b, _) in itertools.pairwise(seen))
    # At a seam the sound of the one file may be longer than its pictures, by some frames of AAC.
    assert max(steps_ms) < 1000
    assert _dropped(mesh, "folder")["bad-file"] >= 2, "the notes, and the link that leads out"
    log = mesh.log.read_text()
    assert log.count("2-notes.txt left out") == 1, "said once, however often it comes round"
    assert "4-out.mp4 left out" in log
    assert mesh.actual("streams", "folder")["restarts"] == 0
    mesh.call("capture.stop", stream="folder")


def test_a_folder_outside_is_refused(mesh: RunningMesh) -> None:
    for source in ("file:///etc", "file://../../../..", "images:///etc/*.png", "images://../../../../*.png"):
        with pytest.raises(CallFailed) as refused:
            mesh.call("capture.start", stream="outside", source=source)
        assert refused.value.code == 400
        assert "must lie under" in refused.value.message


def test_images_come_in_order_and_again(mesh: RunningMesh) -> None:
    folder = mesh.media_dir / "shots"
    folder.mkdir()
    colours = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}
    for number, colour in enumerate(colours):
        _colour(folder / f"shot-{number}.png", colour, f"{320 + number * 32}x180")
    (folder / "shot-1b.png").write_bytes(b"no picture")
    _colour(folder / "other.png", "white")
    mesh.call("capture.start", stream="shots", source="images://shots/shot-*.png?fps=20")
    seen: list[tuple[int, int]] = []
    times: list[int] = []
    with client(mesh) as app, app.frames("shots", timeout_seconds=10) as frames:
        for frame in frames:
            number = int(np.argmax(frame.bgr()[90, 160, ::-1]))
            seen.append((number, frame.ref.width))
            times.append(frame.ref.pts_ns)
            if len(seen) == 30:
                break
    assert set(seen) == {(0, 320), (1, 352), (2, 384)}, "each in its own size"
    following = [(a[0], b[0]) for a, b in itertools.pairwise(seen)]
    assert sum(b == (a + 1) % 3 for a, b in following) > 20, "in order; a busy machine may drop some"
    steps_ms = np.diff(times) / 1e6
    assert np.min(steps_ms) > 49
    assert _dropped(mesh, "shots")["damaged"] > 0
    mesh.wait_for(lambda: not mesh.actual("streams", "shots")["decoding"], 15, "nobody looks")
    before = mesh.call("capture.shots.stats")["frames"]
    time.sleep(1)
    after = mesh.call("capture.shots.stats")
    assert after["frames"] == before, "nothing is decoded while nobody looks"
    assert after["fps"] > 10
    mesh.call("capture.stop", stream="shots")


def test_images_that_there_are_none_of_yet(mesh: RunningMesh) -> None:
    folder = mesh.media_dir / "later"
    folder.mkdir()
    with pytest.raises(CallFailed) as missing:
        mesh.call("capture.start", stream="later", source="images://later/*.png", wait_s=3)
    assert missing.value.code == 404
    assert "*.png" in missing.value.message
    _colour(folder / "a.png", "red")
    mesh.wait_for(lambda: mesh.actual("streams", "later")["state"] == "live", 10, "the picture has come")
    mesh.call("capture.stop", stream="later")


@contextmanager
def _screen(size: str = "640x480") -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """An X server with a clock whose hand moves."""
    display = next(number for number in _DISPLAYS if not Path(f"/tmp/.X11-unix/X{number}").exists())
    server = subprocess.Popen(
        ["Xvfb", f":{display}", "-screen", "0", f"{size}x24", "-nolisten", "tcp"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    clock: subprocess.Popen[bytes] | None = None
    try:
        wait_until(lambda: Path(f"/tmp/.X11-unix/X{display}").exists(), _STARTED_SECONDS, "the X server listens")
        clock = subprocess.Popen(
            ["xclock", "-display", f":{display}", "-update", "1", "-geometry", "200x200+40+60"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield f":{display}", server
    finally:
        for process in (clock, server):
            if process:
                process.terminate()  # an X server that is killed leaves its socket behind
                process.wait()


@pytest.mark.skipif(not shutil.which("Xvfb") or not shutil.which("xclock"), reason="needs Xvfb and xclock")
def test_a_screen_is_seen(mesh: RunningMesh) -> None:
    with _screen() as (display, server):
        area = "size=200x200&offset=40,60&fps=10&cursor=0"
        mesh.call("capture.start", stream="whole", source=f"screen://{display}")
        mesh.call("capture.start", stream="part", source=f"screen://{display}?{area}")
        mesh.wait_for(lambda: _snapshot(mesh, "whole").max() > 200, 15, "the clock is drawn")
        whole, part = _snapshot(mesh, "whole"), _snapshot(mesh, "part")
        assert whole.shape == (480, 640, 3)
        assert part.shape == (200, 200, 3)
        assert whole[70:250, 50:230].mean() > 150, "the clock's white face"
        assert whole[300:, 300:].mean() < 20, "the empty screen"
        assert part.mean() > 150
        wait_until(lambda: bool((_snapshot(mesh, "part") != part).any()), 15, "the hand moves")
        mesh.wait_for(lambda: not mesh.actual("streams", "part")["decoding"], 15, "nobody looks")
        assert total(mesh.ready["metrics"]["capture"], "framemesh_capture_live", stream="part") == 1
        server.terminate()
        mesh.wait_for(lambda: mesh.actual("streams", "part")["state"] == "reconnecting", 15, "the loss is seen")
        assert display in mesh.actual("streams", "part")["error"]["message"]
    for stream in ("whole", "part"):
        mesh.call("capture.stop", stream=stream)


def test_screens_that_there_are_not(mesh: RunningMesh) -> None:
    with pytest.raises(CallFailed) as missing:
        mesh.call("capture.start", stream="none", source="screen://:4242", wait_s=3)
    assert missing.value.code == 503
    assert "XAUTHORITY" in missing.value.message
    mesh.call("capture.stop", stream="none")
    for source in ("screen://example.org:0", "screen://:0?offset=1", "screen://:0?size=big", "screen://:0?speed=1"):
        with pytest.raises(CallFailed) as refused:
            mesh.call("capture.start", stream="none", source=source)
        assert refused.value.code == 400

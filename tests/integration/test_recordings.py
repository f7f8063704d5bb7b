"""Recording by hand on a real mesh: what is told of a file is what ffprobe finds in it, whatever was killed."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.ids import compound_id
from schemas.recordings import RECORDING_OUTPUT
from schemas.subjects import DESIRED_BUCKET, state_key
from schemas.units import NS_PER_SECOND
from shared.bus import Bus
from shared.recording_index import index_path, read_index
from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.peers import probe

pytestmark = pytest.mark.integration

_FPS = 30
_FRAME_SECONDS = 1 / _FPS
_FRAGMENT_SECONDS = 1.0  # the publisher's setting
_BUSY = 3  # times fewer pictures than asked for is what a machine makes that does many other things
_MIN_FREE_BYTES = 1_000_000


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": str(_MIN_FREE_BYTES)}) as running:
        running.call("capture.start", stream="cam0", source=f"test://?size=640x360&fps={_FPS}")
        running.call(
            "capture.start", stream="clip", source=shutil.copy(bunny(), running.media_dir / "clip-source.mp4").as_uri()
        )
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left_recording(mesh: RunningMesh) -> Iterator[None]:
    """One test that fails in the middle of a recording is one test."""
    yield
    with contextlib.suppress(CallFailed):
        mesh.call("publisher.stop-recording", stream="cam0")


def _seconds(file: str) -> float:
    """The file's duration as ffprobe has it."""
    shown = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "json", file]
    run = subprocess.run(shown, capture_output=True, text=True, check=True, timeout=60)
    assert not run.stderr, run.stderr
    return float(json.loads(run.stdout)["format"]["duration"])


def _wait_recorded(mesh: RunningMesh, stream: str, seconds: float) -> Any:
    return mesh.wait_for(
        lambda: (now := mesh.call("publisher.recording", stream=stream))["duration_s"] >= seconds and now,
        seconds + 15,
        f"{seconds} s of {stream} are recorded",
    )


def _check(told: Any) -> None:
    """What stop-recording has told against the files themselves."""
    assert not told["recording"]
    assert told["state"] == "finished"
    files = told["files"]
    assert told["file_name"] == files[-1]
    assert told["file_size"] == sum(Path(file).stat().st_size for file in files)
    assert told["duration_s"] == pytest.approx(sum(map(_seconds, files)), abs=_FRAME_SECONDS)
    tracks = [probe(Path(file))["video"] for file in files]  # decodes all of it and fails on any complaint
    assert {(track.width, track.codec) for track in tracks} == {(told["width"], "h264")}


def test_start_status_stop(mesh):
    began_ns = time.time_ns()
    started = mesh.call("publisher.start-recording", stream="cam0")
    assert started["recording"]
    assert started["state"] == "running"
    assert started["rendition"] == "main"
    assert Path(started["file_name"]).parent == mesh.media_dir / "cam0"
    assert 0 <= started["started_ns"] - began_ns < 10 * NS_PER_SECOND
    with pytest.raises(CallFailed, match=f"cam0 is being recorded to {started['file_name']} already") as caught:
        mesh.call("publisher.start-recording", stream="cam0")
    assert caught.value.code == 409
    _wait_recorded(mesh, "cam0", 3.0)
    told = mesh.call("publisher.stop-recording", stream="cam0")
    _check(told)
    [file] = told["files"]
    assert (told["width"], told["height"]) == (640, 360)
    video = probe(Path(file))["video"]
    assert told["frame_rate"] == pytest.approx(video.decoded / told["duration_s"], rel=0.05)
    # A busy machine draws and encodes fewer pictures; of those that were encoded none is missing.
    records = read_index(index_path(Path(file))).records
    assert len(records) == video.decoded
    assert set(np.diff(records["index"].astype(np.int64)).tolist()) == {1}, "no picture is missing inside"
    assert video.decoded > told["duration_s"] * _FPS / _BUSY
    assert mesh.actual("outputs", "cam0", "recording") is None, "the output is gone"
    again = mesh.call("publisher.recording", stream="cam0")
    assert not again["recording"]
    assert again["file_size"] == told["file_size"], "the last one is still told of"
    with pytest.raises(CallFailed, match="cam0 is not being recorded") as caught:
        mesh.call("publisher.stop-recording", stream="cam0")
    assert caught.value.code == 404


def test_a_source_with_packets_of_its_own_is_not_encoded_again(mesh):
    started = mesh.call("publisher.start-recording", stream="clip", to="file://own.mp4")
    assert started["rendition"] == "source"
    _wait_recorded(mesh, "clip", 2.0)
    told = mesh.call("publisher.stop-recording", stream="clip")
    _check(told)
    assert (told["width"], told["height"], told["frame_rate"]) == (1280, 720, 25)
    assert told["files"] == [str(mesh.media_dir / "own.mp4")]


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"stream": "nobody"}, 404, "stream 'nobody' does not exist; start it first with capture.start"),
        ({"stream": "lost"}, 409, "stream lost is reconnecting: .*; only a live stream can be recorded"),
        ({"stream": "cam0", "to": "file:///etc/x.mp4"}, 400, "to 'file:///etc/x.mp4': recordings may lie in"),
        ({"stream": "cam0", "to": "rtmp://host/app/key"}, 400, "to 'rtmp': a recording goes to file://"),
        ({"stream": "cam0", "to": "file://{x}.mp4"}, 400, "placeholders are {stream}"),
        ({"stream": "cam0", "colour": 1}, 400, "unknown field `colour`"),
    ],
)
def test_what_cannot_be_recorded_is_told_at_once(mesh, request_, code, text):
    if request_["stream"] == "lost" and not mesh.actual("streams", "lost"):
        with pytest.raises(CallFailed):
            mesh.call("capture.start", stream="lost", source="rtsp://127.0.0.1:9/x")
    with pytest.raises(CallFailed, match=text) as caught:
        mesh.call("publisher.start-recording", **request_)
    assert caught.value.code == code
    assert mesh.actual("outputs", request_["stream"], "recording") is None


def test_the_command_line(mesh):
    begun = mesh.run("record", "start", "cam0", "--to", "file://line/{stream}.mp4")
    assert begun.returncode == 0, begun.stderr
    assert "cam0: running" in begun.stdout
    _wait_recorded(mesh, "cam0", 1.0)
    assert json.loads(mesh.run("record", "status", "cam0", "--json").stdout)["recording"]
    ended = mesh.run("record", "stop", "cam0").stdout
    assert "cam0: finished" in ended
    assert f"{mesh.media_dir}/line/cam0.mp4" in ended
    assert "not being recorded" in mesh.run("record", "status", "clip2").stdout
    wrong = mesh.run("record", "stop", "cam0", "--to", "file://x.mp4")
    assert wrong.returncode == 1
    assert "does not take `to`" in wrong.stderr


def test_a_publisher_killed_while_recording_loses_a_fragment_at_most(mesh):
    name = f"killed{time.time_ns()}"  # another try finds the files of the one before
    mesh.call("publisher.start-recording", stream="cam0", to=f"file://{name}.mp4")
    before = _wait_recorded(mesh, "cam0", 3.0)
    mesh.kill("publisher")
    mesh.wait_for(lambda: len(list(mesh.media_dir.glob(f"{name}*.mp4"))) == 2, 20, "it goes on in a next file")
    went_on = _wait_recorded(mesh, "cam0", before["duration_s"] + 2)
    assert went_on["started_ns"] == before["started_ns"]
    told = mesh.call("publisher.stop-recording", stream="cam0")
    _check(told)
    first, second = told["files"]
    assert _seconds(first) >= before["duration_s"] - _FRAGMENT_SECONDS - 5 * _FRAME_SECONDS
    assert _seconds(second) > 1.5
    assert (told["file_name"], told["started_ns"]) == (second, before["started_ns"])


async def _ask_to_finish(mesh: RunningMesh, stream: str) -> None:
    """What stop-recording writes, without waiting for what comes of it."""
    bus = await Bus.connect(mesh.ready["nats"], name="test", timeout_seconds=5)
    try:
        bucket = await bus.bucket(DESIRED_BUCKET)
        key = state_key("publisher", compound_id(stream, RECORDING_OUTPUT))
        entry = await bucket.get(key)
        assert entry is not None
        await bucket.update(key, msgspec.json.encode(json.loads(entry.value) | {"finish": True}), entry.revision)
    finally:
        await bus.drain()


@pytest.mark.parametrize("moment", ["before", "while", pytest.param("after", marks=pytest.mark.long)])
async def test_a_publisher_killed_when_a_recording_ends_tells_the_truth_afterwards(mesh, moment):
    name = f"{moment}{time.time_ns()}"
    mesh.call("publisher.start-recording", stream="cam0", to=f"file://{name}.mp4")
    before = _wait_recorded(mesh, "cam0", 2.0)
    if moment == "before":
        mesh.kill("publisher")
    await _ask_to_finish(mesh, "cam0")
    if moment == "after":
        mesh.wait_for(lambda: mesh.call("publisher.recording", stream="cam0")["state"] == "finished", what="finished")
    if moment != "before":
        mesh.kill("publisher")
    mesh.wait_for(lambda: "publisher" in mesh.pids(), 10, "it is back")
    told = mesh.wait_for(lambda: _answer(mesh, "stop-recording", "cam0"), 20, "it answers again")
    _check(told)
    assert told["files"] == [str(mesh.media_dir / f"{name}.mp4")]
    assert told["duration_s"] >= before["duration_s"] - _FRAGMENT_SECONDS - 5 * _FRAME_SECONDS
    assert told["started_ns"] == before["started_ns"]


def _answer(mesh: RunningMesh, verb: str, stream: str) -> Any:
    """The reply of a publisher that was killed, None while it is not back."""
    try:
        return mesh.call(f"publisher.{verb}", stream=stream)
    except CallFailed as failed:
        if failed.code == 503:  # nobody answers yet
            return None
        raise


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk_ends_a_recording_and_what_was_written_plays(mesh):
    disk = Path(tempfile.mkdtemp(prefix="small-", dir=mesh.media_dir))  # another one at another try
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        mesh.call("publisher.start-recording", stream="clip", to=f"file://{disk.name}/full.mp4")
        full = mesh.wait_for(
            lambda: not (now := mesh.call("publisher.recording", stream="clip"))["recording"] and now, 30, "full"
        )
        assert full["state"] == "finished"
        assert full["error"]["code"] == 507
        assert f"disk of {disk}/full.mp4" in full["error"]["message"]
        mesh.kill("publisher")
        mesh.wait_for(lambda: "publisher" in mesh.pids(), 10, "it is back")
        after = mesh.wait_for(lambda: _answer(mesh, "recording", "clip"), 20, "it answers again")
        assert not after["recording"], "it does not begin again by itself"
        told = mesh.call("publisher.stop-recording", stream="clip")
        _check(told)
        assert told["error"] == full["error"]
        assert 0 < told["duration_s"] < 60
        # Without room another one is refused before anything is written.
        before = sorted(disk.iterdir())
        needed = (
            rf"disk of {disk}: {_MIN_FREE_BYTES} bytes needed, \d+ bytes free; .*FRAMEMESH_PUBLISHER_MIN_FREE_BYTES"
        )
        with pytest.raises(CallFailed, match=needed) as caught:
            mesh.call("publisher.start-recording", stream="clip", to=f"file://{disk.name}/more.mp4")
        assert caught.value.code == 507
        assert sorted(disk.iterdir()) == before
        assert mesh.actual("outputs", "clip") is None
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

"""Recording by hand among races, kills and other nodes: each recording is told of once and truly, and none is lost."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.errors import MeshError
from schemas.recordings import Recording
from shared.bus import Bus
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.peers import probe

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000"}) as running:
        running.call("capture.start", stream="cam0", source="test://?size=640x360&fps=30")
        yield running


@pytest.fixture(autouse=True)
def ended(mesh: RunningMesh) -> Iterator[None]:
    yield
    with contextlib.suppress(CallFailed):
        mesh.call("publisher.stop-recording", stream="cam0")


async def _all(mesh: RunningMesh, *commands: tuple[str, dict[str, Any]]) -> list[Recording | MeshError]:
    """Give commands at once; their replies or errors."""
    bus = await Bus.connect(mesh.ready["nats"], name="test", timeout_seconds=5)
    try:
        requests = [
            bus.request_raw(f"mesh.v1.cmd.publisher.{verb}", json.dumps(fields).encode(), 20)
            for verb, fields in commands
        ]
        replies = await asyncio.gather(*requests, return_exceptions=True)
    finally:
        await bus.drain()
    unexpected = [reply for reply in replies if not isinstance(reply, bytes | MeshError)]
    assert not unexpected
    return [msgspec.json.decode(reply, type=Recording) if isinstance(reply, bytes) else reply for reply in replies]  # type: ignore[misc]


def _wait_recorded(mesh: RunningMesh, seconds: float) -> Any:
    return mesh.wait_for(
        lambda: (now := mesh.call("publisher.recording", stream="cam0"))["duration_s"] >= seconds and now,
        30,
        "pictures",
    )


def _answer(mesh: RunningMesh, verb: str) -> Any:
    try:
        return mesh.call(f"publisher.{verb}", stream="cam0")
    except CallFailed as failed:
        if failed.code == 503:  # nobody answers yet
            return None
        raise


async def test_of_many_that_start_one_records(mesh):
    replies = await _all(mesh, *[("start-recording", {"stream": "cam0", "to": f"file://{n}.mp4"}) for n in range(6)])
    begun = [reply for reply in replies if isinstance(reply, Recording)]
    refused = [reply for reply in replies if isinstance(reply, MeshError)]
    assert len(begun) == 1
    assert {(error.code, "is being recorded" in error.message) for error in refused} == {(409, True)}


async def test_all_who_stop_are_told_the_same(mesh):
    mesh.call("publisher.start-recording", stream="cam0", to="file://stopped.mp4")
    _wait_recorded(mesh, 1.0)
    replies = await _all(mesh, *[("stop-recording", {"stream": "cam0"})] * 5)
    assert all(isinstance(reply, Recording) for reply in replies), replies
    assert {(reply.recording, reply.file_name, reply.file_size) for reply in replies} == {  # type: ignore[union-attr]
        (False, str(mesh.media_dir / "stopped.mp4"), (mesh.media_dir / "stopped.mp4").stat().st_size)
    }


@pytest.mark.long
async def test_who_stops_takes_no_later_recording_away(mesh):
    """Stop and start at once, again and again: whoever was told that it records is recording."""
    for number in range(8):
        with contextlib.suppress(CallFailed):
            mesh.call("publisher.start-recording", stream="cam0", to=f"file://turn{number}.mp4")
        told = await _all(
            mesh,
            ("stop-recording", {"stream": "cam0"}),
            ("stop-recording", {"stream": "cam0"}),
            *[("start-recording", {"stream": "cam0", "to": f"file://next{number}.mp4"})] * 3,
        )
        if any(isinstance(reply, Recording) and reply.recording for reply in told):
            assert mesh.call("publisher.recording", stream="cam0")["recording"], told


async def test_a_start_that_is_stopped_says_so(mesh):
    """No encoder makes this rendition, so nothing begins before it is stopped."""
    pid = mesh.pids()["hw-encode"]
    os.kill(pid, signal.SIGSTOP)
    try:
        start = asyncio.create_task(_all(mesh, ("start-recording", {"stream": "cam0", "to": "file://never.mp4"})))
        await asyncio.sleep(1.0)
        [stopped] = await _all(mesh, ("stop-recording", {"stream": "cam0"}))
        [started] = await start
    finally:
        os.kill(pid, signal.SIGCONT)
    assert isinstance(stopped, Recording)
    assert isinstance(started, Recording)
    assert (stopped.recording, stopped.file_name, stopped.file_size) == (False, "", 0)
    assert not started.recording
    assert not list(mesh.media_dir.glob("never*"))


def test_a_rendition_that_nobody_makes_is_refused(mesh):
    with pytest.raises(CallFailed, match="cam0 has no rendition 'nothere'; make it first") as caught:
        mesh.call("publisher.start-recording", stream="cam0", rendition="nothere")
    assert caught.value.code == 404
    with pytest.raises(CallFailed, match="no packets of its own"):
        mesh.call("publisher.start-recording", stream="cam0", rendition="source")
    assert mesh.actual("outputs", "cam0", "recording") is None


def test_its_name_is_for_files(mesh):
    with pytest.raises(CallFailed, match="output 'recording': recordings to files have this name") as caught:
        mesh.call("publisher.start", stream="cam0", output="recording", to="rtmp://127.0.0.1:9/app/key")
    assert caught.value.code == 400


@pytest.mark.long
def test_killed_before_its_first_picture_is_on_the_disk(mesh):
    begun = mesh.call("publisher.start-recording", stream="cam0", to="file://early.mp4")
    mesh.kill("publisher")
    assert Path(begun["file_name"]).stat().st_size == 0, "killed early enough"
    mesh.wait_for(lambda: _answer(mesh, "recording"), 20, "it answers again")
    _wait_recorded(mesh, 1.5)
    told = mesh.call("publisher.stop-recording", stream="cam0")
    assert len(told["files"]) == 1
    assert probe(Path(told["files"][0]))["video"].decoded > 30
    assert all(Path(file).stat().st_size for file in mesh.media_dir.glob("early*.mp4"))
    assert told["started_ns"] > begun["started_ns"]


@pytest.mark.parametrize(
    "name", ["cam0--recording.files.json", pytest.param("cam0--recording.json", marks=pytest.mark.long)]
)
def test_a_journal_that_nobody_can_read_costs_no_recording(mesh, name):
    state = mesh.folder / "data" / "publisher"
    mesh.call("publisher.start-recording", stream="cam0", to="file://journal.mp4")
    mesh.wait_for((state / "cam0--recording.json").exists, 20, "a fragment is safe")
    mesh.kill("publisher")
    (state / name).write_bytes(b'{"to": "\xff\xfe"}')
    mesh.wait_for(lambda: _answer(mesh, "recording"), 20, "it answers again")
    mesh.wait_for(lambda: mesh.call("publisher.recording", stream="cam0")["state"] == "running", 20, "it goes on")
    _wait_recorded(mesh, 1.5)
    told = mesh.call("publisher.stop-recording", stream="cam0")
    assert told["error"] is None
    assert probe(Path(told["file_name"]))["video"].decoded > 10


def test_what_an_earlier_recording_left_is_not_taken_for_the_next(mesh):
    """Removed while no publisher ran: its journal is still there."""
    state = mesh.folder / "data" / "publisher"
    kept = state / "cam0--recording.files.json"
    mesh.call("publisher.start-recording", stream="cam0", to="file://same.mp4")
    _wait_recorded(mesh, 1.5)
    journal = kept.read_bytes()
    mesh.call("publisher.stop-recording", stream="cam0")
    mesh.kill("publisher")
    kept.write_bytes(journal)
    mesh.wait_for(lambda: _answer(mesh, "recording"), 20, "it answers again")
    mesh.call("publisher.start-recording", stream="cam0", to="file://same.mp4")
    _wait_recorded(mesh, 1.0)
    assert mesh.call("publisher.stop-recording", stream="cam0")["files"] == [str(mesh.media_dir / "same-1.mp4")]


@contextlib.contextmanager
def _on_another_node(mesh: RunningMesh, service: str) -> Iterator[None]:
    """A service of node `other`, for as long as the block lasts."""
    environment = mesh.environment | {"FRAMEMESH_NODE": "other", f"FRAMEMESH_{service.upper()}_METRICS_PORT": "0"}
    environment["FRAMEMESH_DATA_DIR"] = str(mesh.folder / "other")
    environment["FRAMEMESH_SHM_DIR"] = str(mesh.shm_dir.parent / "other")
    log = mesh.folder / "other.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], env=environment, stderr=out, stdout=out, cwd=mesh.folder
        )
    try:
        mesh.wait_for(
            lambda: any((one["service"], one["node"]) == (service, "other") for one in mesh.status()["services"]),
            20,
            "it is there",
        )
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0, log.read_text()


def test_two_publishers_tell_the_same_and_the_streams_own_writes(mesh):
    with _on_another_node(mesh, "publisher"):
        for number in range(3):
            begun = mesh.call("publisher.start-recording", stream="cam0", to=f"file://two{number}.mp4")
            assert Path(begun["file_name"]).parent == mesh.media_dir
            _wait_recorded(mesh, 1.0)
            told = mesh.call("publisher.stop-recording", stream="cam0")
            answers = [mesh.call("publisher.recording", stream="cam0")["file_name"] for _ in range(6)]
            assert answers == [told["file_name"]] * 6


def test_a_stream_on_a_node_without_a_publisher_is_refused(mesh):
    with _on_another_node(mesh, "capture"):
        mesh.call("capture.start", stream="far0", source="test://", node="other")
        with pytest.raises(CallFailed, match="no publisher runs on node other, where far0 is") as caught:
            mesh.call("publisher.start-recording", stream="far0")
        assert caught.value.code == 503
        assert mesh.actual("outputs", "far0", "recording") is None
        mesh.call("capture.stop", stream="far0")

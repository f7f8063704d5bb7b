"""What happened before anybody asked, on a real mesh: pre-roll, clips and copies, by the time codes in the pictures."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from schemas.errors import MeshError
from schemas.recordings import Clip, MakeClip
from schemas.subjects import PREFIX, command, event
from shared.bus import Bus
from shared.media import timecode
from shared.recording_index import index_path, read_index
from tests.support.mesh import RunningMesh, bunny

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NANOSECONDS = 1_000_000_000
FPS = 15
FRAME_SECONDS = 1 / FPS
KEY_SECONDS = 1.0
HISTORY_SECONDS = 4.0
# Of a picture's time code against its capture time: the code is in milliseconds.
CODE_SECONDS = 0.002
# A machine that is busy with other tests encodes late and leaves pictures out.
LATE_SECONDS = 1.0


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000"}) as running:
        running.call("capture.start", stream="cam0", source=f"test://?size=384x216&fps={FPS}", timecode=True)
        running.call("hw-encode.start", stream="cam0", key_interval="1s", bitrate="300k", history="30s")
        source = shutil.copy(bunny(), running.media_dir / "clip-source.mp4").as_uri()
        running.call("capture.start", stream="clip", source=source, history="20s")
        running.wait_for(
            lambda: ask(running, "capture.clip.stats")["history_s"] > HISTORY_SECONDS, 30, "there is a past"
        )
        yield running


def ask(mesh: RunningMesh, subject: str, **request: Any) -> Any:
    """A command's reply; a process of the command line for each would take longer than all the rest."""

    async def reply() -> bytes:
        bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test", timeout_seconds=5)
        try:
            return await bus.request_raw(f"{PREFIX}.cmd.{subject}", json.dumps(request).encode(), 40)
        finally:
            await bus.drain()

    return json.loads(asyncio.run(reply()))


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def codes(path: str) -> list[float]:
    """When each picture was captured, in seconds since 1970, read from its pixels."""
    found = []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            read = timecode.read(frame.to_ndarray()[: frame.height], time.time_ns() // 1_000_000)
            assert read is not None, "every picture has its time code"
            found.append(read / 1e3)
    return found


def check_clip(told: dict[str, Any], start_s: float, end_s: float) -> list[float]:
    """The clip is of the time that was asked for, as its pictures show."""
    assert told["state"] == "finished", told
    assert told["error"] is None
    seen = codes(told["file_name"])
    assert seen == sorted(set(seen)), "each picture once, in order"
    assert start_s - KEY_SECONDS - LATE_SECONDS <= seen[0] <= start_s + FRAME_SECONDS
    assert end_s - LATE_SECONDS <= seen[-1] <= end_s
    assert told["start_ns"] / NANOSECONDS == pytest.approx(seen[0], abs=CODE_SECONDS)
    assert told["end_ns"] / NANOSECONDS == pytest.approx(seen[-1] + FRAME_SECONDS, abs=FRAME_SECONDS)
    assert told["size_bytes"] == Path(told["file_name"]).stat().st_size
    return seen


def test_a_recording_begins_before_it_was_asked_for(mesh: RunningMesh) -> None:
    before_s = time.time()
    started = ask(mesh, "publisher.start-recording", stream="cam0", preroll="3s")
    after_s = time.time()
    assert started["preroll_s"] >= 3.0
    mesh.wait_for(lambda: ask(mesh, "publisher.recording", stream="cam0")["duration_s"] > 4.5, 20, "live ones follow")
    # What is in no file yet comes out of memory, what is in the file from there.
    asked_s = time.time()
    both = ask(mesh, "publisher.test.clip", stream="cam0", start=at(asked_s - 4), end=at(asked_s), wait_s=30)
    check_clip(both, asked_s - 4, asked_s)
    told = ask(mesh, "publisher.stop-recording", stream="cam0")
    assert told["preroll_s"] == started["preroll_s"]
    seen = codes(told["file_name"])
    assert seen[0] <= after_s - 3.0, "as long ago as was asked for"
    assert seen[0] >= before_s - 3.0 - KEY_SECONDS - LATE_SECONDS, "and at most a group of pictures more"
    records = read_index(index_path(Path(told["file_name"]))).records
    assert len(records) == len(seen)
    steps = set(np.diff(records["index"].astype(np.int64)).tolist())
    assert steps == {1}, "no packet is missing or twice at the seam"
    assert len(set(records["run"])) == 1


def test_history_changes_while_packets_flow(mesh: RunningMesh) -> None:
    source = mesh.actual("streams", "clip")["source"]
    before = ask(mesh, "capture.clip.stats")
    [ring] = mesh.shm_dir.glob("clip--source.*.pring")
    ring_bytes = ring.stat().st_size
    changed = ask(mesh, "capture.start", stream="clip", source=source, history="40s")
    assert changed["actual"]["error"] is None
    assert changed["actual"]["epoch"] == before["epoch"], "the source was not opened again"
    [grown] = mesh.shm_dir.glob("clip--source.*.pring")
    assert grown.stat().st_size > 1.5 * ring_bytes, "memory for more"
    assert ask(mesh, "capture.clip.stats")["history_s"] >= before["history_s"], "what was kept still is"
    with pytest.raises(MeshError, match="history '0s': write how much to keep"):
        ask(mesh, "capture.start", stream="clip", source=source, history="0s")


def test_of_packets_that_nobody_took_with_their_sound(mesh: RunningMesh) -> None:
    told = ask(mesh, "publisher.test.clip", stream="clip", start="-3s", wait_s=30)
    assert (told["state"], told["gaps_ns"]) == ("finished", 0)
    assert (told["end_ns"] - told["start_ns"]) / NANOSECONDS >= 3.0 - LATE_SECONDS
    with av.open(told["file_name"]) as container:
        ends = [float(stream.duration * stream.time_base) for stream in container.streams]
        starts = [float(stream.start_time * stream.time_base) for stream in container.streams]
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert sum(1 for _ in container.decode(video=0)) == pytest.approx(ends[0] * 25, abs=2)
    assert max(starts) < 0.1
    assert abs(ends[0] - ends[1]) < 0.2


async def test_what_is_to_come_is_waited_for_even_over_a_kill(mesh: RunningMesh) -> None:
    bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test", timeout_seconds=5)
    told: asyncio.Queue[Any] = asyncio.Queue()
    await bus.subscribe(event("publisher", "cam0", "clip"), lambda one: told.put_nowait(json.loads(one.data)["detail"]))
    asked_s = time.time()
    request = MakeClip(stream="cam0", start=at(asked_s - 2), end=at(asked_s + 2.5), wait_s=0)
    waiting = await bus.request(command("publisher", "clip", "test"), request, Clip)
    assert waiting.state == "waiting"
    folder = mesh.folder / "data/publisher/clips"
    await asyncio.to_thread(mesh.wait_for, lambda: any(folder.glob("*.packets")), 5, "packets are set aside")
    mesh.kill("publisher")
    async with asyncio.timeout(30):
        ended = await told.get()
    assert ended["clip"] == waiting.clip
    check_clip(ended, asked_s - 2, asked_s + 2.5)
    assert not list(folder.iterdir()), "nothing is left of the wait"
    await bus.drain()


def test_the_command_line_waits_and_copies(mesh: RunningMesh, tmp_path: Path) -> None:
    copied = tmp_path / "door.mp4"
    done = mesh.run("clip", "cam0", "--from", "-2s", "--to", "+2s", "-o", str(copied), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert copied.read_bytes() == Path(told["file_name"]).read_bytes()
    seen = codes(str(copied))
    assert seen[-1] - seen[0] > 3.0


def test_lists_and_copies(mesh: RunningMesh, tmp_path: Path) -> None:
    made = ask(mesh, "publisher.test.clip", stream="cam0", start="-2s", to="file://listed/{stream}.mp4", wait_s=30)
    listed = ask(mesh, "publisher.test.recordings", stream="cam0")["files"]
    [found] = [file for file in listed if file["file"] == "listed/cam0.mp4"]
    assert (found["start_ns"], found["size_bytes"]) == (made["start_ns"], made["size_bytes"])
    assert (found["codec"], found["width"], found["height"], found["writing"]) == ("h264", 384, 216, False)
    assert [file["start_ns"] for file in listed] == sorted(file["start_ns"] for file in listed)
    newest = ask(mesh, "publisher.test.recordings", limit=1)
    assert (len(newest["files"]), newest["more"]) == (1, True)
    assert ask(mesh, "publisher.test.recordings", start="-2h", end="-1h")["files"] == []
    assert "listed/cam0.mp4" in mesh.run("recordings", "cam0", "--from", "-1h").stdout
    # A copy that was broken off is gone on with.
    (tmp_path / "cam0.mp4.part").write_bytes(Path(made["file_name"]).read_bytes()[:1000])
    done = mesh.run("fetch", "listed/cam0.mp4", "-o", str(tmp_path / "cam0.mp4"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cam0.mp4").read_bytes() == Path(made["file_name"]).read_bytes()


REFUSED = [
    ("clip", {"stream": "nobody"}, 404, "'nobody' does not exist, and nothing of it is kept"),
    ("clip", {"stream": "cam0", "start": "-2h", "end": "-1h"}, 404, "nothing is kept on node test; there is"),
    ("clip", {"stream": "cam0", "start": "soon"}, 400, "start 'soon': write now, -10s"),
    ("clip", {"stream": "cam0", "start": "now", "end": "-5s"}, 400, "end '-5s': write a time after start"),
    ("clip", {"stream": "cam0", "end": "+2h"}, 400, "end '\\+2h': a clip ends 3600 s after"),
    ("clip", {"stream": "cam0", "to": "rtmp://x/y"}, 400, "to 'rtmp': a clip goes to file://"),
    ("clip", {"stream": "cam0", "to": "file:///etc/x.mp4"}, 400, "recordings may lie in"),
    ("clip", {"stream": "cam0", "rendition": "none", "end": "+1s"}, 404, "no rendition 'none'"),
    ("recordings", {"start": "now", "end": "-5s"}, 400, "end '-5s': write a time after start"),
    ("fetch", {"file": "../publisher/x.json"}, 400, "file '../publisher/x.json': write it as"),
    ("fetch", {"file": "/etc/passwd"}, 400, "below the folders for recordings only"),
    ("fetch", {"file": "clip-source.mp4"}, 404, "there is no recording 'clip-source.mp4'"),
    ("fetch", {"file": "linked.mp4"}, 404, "there is no recording 'linked.mp4'"),
    ("fetch", {"file": "x.mp4", "size": 5 << 20}, 400, "size"),
]


async def test_refusals(mesh: RunningMesh) -> None:
    (mesh.media_dir / "linked.mp4").symlink_to("/etc/passwd")
    (mesh.media_dir / "linked.mp4.idx").write_bytes(b"x")
    bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test", timeout_seconds=5)
    for verb, request, code, text in REFUSED:
        with pytest.raises(MeshError, match=text) as caught:
            await bus.request_raw(command("publisher", verb, "test"), json.dumps(request).encode())
        assert caught.value.code == code, request
    await bus.drain()

"""Pictures of a live stream at a moment, by the time codes in them, and pictures again and again."""

import asyncio
import contextlib
import io
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import pytest

from schemas.errors import MeshError, NotFound
from schemas.moments import TakenPicture, TakePicture
from schemas.sampling import PictureOptions
from schemas.subjects import command
from shared.bus import Bus
from shared.media import timecode
from tests.support.mesh import RunningMesh
from tests.support.pace import slowness
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NS = 1_000_000_000
FPS = 20
# Half the distance of two pictures; what a busy machine leaves out is allowed for.
NEAR_NS = round(0.75 * NS / FPS)
CODE_NS = 2_000_000  # the code is in milliseconds
TEXT_NS = 1_000  # a moment is written in microseconds
PREROLL_SECONDS = 3.0


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    settings = {
        "FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000",
        "FRAMEMESH_FRAME_EXTRACTOR_HTTP_PORT": "0",
        "FRAMEMESH_HW_ENCODE_IDLE_SECONDS": "1",
        "PYTHONPATH": str(Path(__file__).parents[1] / "support" / "faulty_store"),
    }
    with RunningMesh(environment=settings) as running:
        running.call("capture.start", stream="cam0", source=f"test://?size=384x216&fps={FPS}", timecode=True)
        running.call("hw-encode.start", stream="cam0", key_interval="1s", bitrate="300k", b_frames=2, history="8s")
        time.sleep(PREROLL_SECONDS + 1.5)  # the past is what is tested
        yield running


def take(mesh: RunningMesh, at: str | None, **fields: Any) -> TakenPicture:
    async def ask() -> TakenPicture:
        bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test")
        try:
            request = TakePicture(stream="cam0", at=at, **fields)
            return await bus.request(command("frame-extractor", "picture"), request, TakenPicture, 30)
        finally:
            await bus.drain()

    return asyncio.run(ask())


def moment(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / NS, UTC).isoformat()


def code_ns(data: bytes) -> int:
    with av.open(io.BytesIO(data)) as file:
        luma = next(file.decode(video=0)).to_ndarray(format="gray")
    code = timecode.read(luma, time.time_ns() // 1_000_000)
    assert code is not None
    return code * 1_000_000


def check(picture: TakenPicture, at_ns: int, near_ns: int = NEAR_NS) -> None:
    assert abs(picture.off_ns - (picture.captured_ns - at_ns)) <= TEXT_NS
    assert abs(picture.off_ns) <= near_ns
    assert abs(code_ns(picture.data) - picture.captured_ns) <= CODE_NS


@contextlib.contextmanager
def extractor(mesh: RunningMesh, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """One more in this mesh, ready."""
    port = free_port()
    environment = {
        **mesh.environment,
        "FRAMEMESH_FRAME_EXTRACTOR_METRICS_PORT": str(port),
        "FRAMEMESH_FRAME_EXTRACTOR_HTTP_PORT": "0",
        **settings,
    }
    log = (mesh.folder / "extractor.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "services.frame_extractor"], env=environment, stderr=log)

    def is_ready() -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).close()
            return True
        return False

    try:
        mesh.wait_for(is_ready, 30, "one more extractor")
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def test_the_picture_of_a_stream_on_another_node(mesh: RunningMesh, tmp_path: Path) -> None:
    door, log_in = free_port(), {"Authorization": "Bearer local"}
    away = {
        "FRAMEMESH_NODE": "other",
        "FRAMEMESH_SHM_DIR": str(tmp_path / "shm"),
        "FRAMEMESH_DATA_DIR": str(tmp_path / "data"),
        "FRAMEMESH_FRAME_EXTRACTOR_HTTP_PORT": str(door),
    }
    with extractor(mesh, **away):
        for ago_ns in (0, NS // 5, 2 * NS):
            at_ns = (time.time_ns() - ago_ns) // 1000 * 1000
            url = f"http://127.0.0.1:{door}/frame?stream=cam0&at={quote(moment(at_ns))}"
            with urllib.request.urlopen(urllib.request.Request(url, headers=log_in), timeout=20) as reply:
                captured_ns, body = int(reply.headers["X-Framemesh-Captured-Ns"]), reply.read()
            assert abs(captured_ns - at_ns) <= NEAR_NS * slowness()
            assert abs(code_ns(body) - captured_ns) <= CODE_NS


def test_the_gateway_gives_it_over_http(mesh: RunningMesh) -> None:
    def get(query: str) -> tuple[int, Any, bytes]:
        try:
            with urllib.request.urlopen(f"{mesh.console.rstrip('/')}/frame/{query}", timeout=20) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    status, headers, body = get(f"cam0?at={quote(moment(time.time_ns()))}&width=192")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert int(headers["X-Framemesh-Captured-Ns"]) > 0
    assert headers["X-Framemesh-Origin"] == "ring"
    assert abs(int(headers["X-Framemesh-Off-Ns"])) < NS
    for query, code, named in (
        ("cam0?at=noon", 400, b"at"),
        ("cam0?at=-1h", 404, b"oldest"),
        ("no?at=-1s", 404, b"no"),
    ):
        status, _, body = get(query)
        assert (status, named in body) == (code, True), body


def pictures(mesh: RunningMesh, folder: str) -> list[Path]:
    return sorted((mesh.folder / "data" / "pictures" / folder).glob("*.jpg"), key=lambda path: path.stat().st_mtime)


def test_a_picture_that_was_claimed_before_a_kill_is_written_once_after_it(mesh: RunningMesh) -> None:
    mesh.call(
        "frame-extractor.start-sample",
        stream="cam0",
        sample="claimed",
        every="500ms",
        to="file://claimed/{epoch}-{sequence}.jpg",
    )
    mesh.wait_for(lambda: len(pictures(mesh, "claimed")) >= 2, 15, "pictures on a schedule")
    before = mesh.pids()["frame-extractor"]
    die = mesh.folder / "data" / "pictures" / "die"
    die.touch()
    mesh.wait_for(lambda: not die.exists(), 15, "it is killed with a picture that it has claimed")
    newest_ns = max(code_ns(path.read_bytes()) for path in pictures(mesh, "claimed"))
    there = len(pictures(mesh, "claimed"))
    mesh.wait_for(lambda: len(pictures(mesh, "claimed")) >= there + 3, 30, "pictures after the kill")
    assert mesh.pids()["frame-extractor"] != before
    mesh.call("frame-extractor.stop-sample", stream="cam0", sample="claimed")
    pieces = sorted(round(code_ns(path.read_bytes()) / 500_000_000) for path in pictures(mesh, "claimed"))
    assert len(set(pieces)) == len(pieces), "none is doubled"
    assert round(newest_ns / 500_000_000) + 1 in pieces, "the one that was claimed is there"


def test_pictures_again_and_again_survive_a_kill_without_doubles(mesh: RunningMesh) -> None:
    every_ns = 500_000_000
    changed = mesh.call(
        "frame-extractor.start-sample",
        stream="cam0",
        sample="half",
        every="500ms",
        to="file://half/{epoch}-{sequence}.jpg",
    )
    assert (changed["code"], changed["actual"]["state"]) == (200, "running")
    mesh.call(
        "frame-extractor.start-sample",
        stream="cam0",
        sample="event",
        event="capture.>",
        to="file://event/{epoch}-{sequence}.jpg",
    )
    mesh.wait_for(lambda: len(pictures(mesh, "half")) >= 3, 15, "pictures on a schedule")
    mesh.kill("frame-extractor")
    there = len(pictures(mesh, "half"))
    mesh.wait_for(lambda: len(pictures(mesh, "half")) >= there + 2, 30, "pictures after a kill")
    pieces = [round(code_ns(path.read_bytes()) / every_ns) for path in pictures(mesh, "half")]
    assert len(set(pieces)) == len(pieces), "one picture of each piece of time"

    mesh.call("capture.start", stream="cam9", source="test://?size=384x216")
    mesh.wait_for(lambda: pictures(mesh, "event"), 15, "a picture of the event")
    listed = mesh.call("frame-extractor.samples", stream="cam0")["samples"]
    assert {entry["spec"]["sample"]: entry["actual"]["state"] for entry in listed} == {
        "half": "running",
        "event": "running",
    }
    for sample in ("half", "event"):
        assert mesh.call("frame-extractor.stop-sample", stream="cam0", sample=sample)["code"] == 200
    mesh.call("capture.stop", stream="cam9")


@pytest.mark.alone  # and the last: it ends the rendition that keeps the past
def test_the_picture_of_a_moment_is_found_wherever_it_is(mesh: RunningMesh) -> None:
    before_ns = time.time_ns()
    newest = take(mesh, None)
    assert newest.origin == "live"
    assert newest.captured_ns >= before_ns - NS // FPS
    assert abs(code_ns(newest.data) - newest.captured_ns) <= CODE_NS

    near_ns = round(NEAR_NS * slowness())
    ahead_ns = time.time_ns() + NS // 2
    check(take(mesh, moment(ahead_ns)), ahead_ns // 1000 * 1000, near_ns)
    just_ns = time.time_ns() - 150_000_000
    assert take(mesh, moment(just_ns)).origin == "ring"

    recording = mesh.call("publisher.start-recording", stream="cam0", rendition="main", preroll="3s")
    begun_ns = time.time_ns()
    for seconds in (PREROLL_SECONDS, 1.7):  # before anybody thought of it
        at_ns = (time.time_ns() - round(seconds * NS)) // 1000 * 1000
        picture = take(mesh, moment(at_ns))
        assert (picture.origin, picture.rendition) == ("packets", "main")
        check(picture, at_ns, near_ns)
    png = take(mesh, moment(at_ns), pictures=PictureOptions(format="png", width=192))
    assert (png.sequence, png.width, png.height, png.data[1:4]) == (picture.sequence, 192, 108, b"PNG")

    recording = mesh.call("publisher.stop-recording", stream="cam0")
    mesh.call("hw-encode.stop", stream="cam0", rendition="main")
    for ring in mesh.shm_dir.glob("*.pring"):  # as after a start of the machine
        ring.unlink()
    for recorded_ns in (recording["started_ns"] + 300_000_000, begun_ns - NS // 2):
        at_ns = recorded_ns // 1000 * 1000
        picture = take(mesh, moment(at_ns))
        assert picture.origin == "recording"
        assert picture.file in recording["file_name"]
        check(picture, at_ns, near_ns)

    with pytest.raises(NotFound, match="the oldest is of"):
        take(mesh, "-1h")
    with pytest.raises(NotFound, match="nearest one"):
        take(mesh, moment(recording["started_ns"] + NS // FPS // 2), within="1ms")
    with pytest.raises(MeshError, match="wait_s"):
        take(mesh, "+90s")

"""The commands of a running stream: snapshot, stats, configure, trigger, ptz; and the cameras of a node."""

import asyncio
import base64
import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from schemas.capture_commands import ConfigureStream, Snapshot, SnapshotRequest
from schemas.commands import StreamChanged
from schemas.errors import MeshError
from schemas.pictures import PictureSettings
from schemas.subjects import command
from shared.bus import Bus
from shared.clients.mesh import Mesh
from shared.media import timecode
from tests.support.mesh import RunningMesh, bunny
from tests.support.rtsp_server import rtsp_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

_MAX_AGE_MS = 1000  # of a picture when its file is here; measured 5 ms on a machine at rest
_MEAN_ERROR = 3.0  # of 255: what a jpg of quality 90 costs a test picture; wrong levels or colours cost 10 and more
_RATE_SECONDS = 2.5  # rates are of 2 s


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        shutil.copy(bunny(), running.media_dir / "bunny.mp4")
        yield running


@pytest.fixture(scope="module")
def client(mesh: RunningMesh) -> Iterator[Mesh]:
    """Much quicker than a command line for each command."""
    nats_url = mesh.environment["FRAMEMESH_NATS_URL"]
    with Mesh.connect(nats_url, node="test", shm_dir=mesh.shm_dir) as connected:
        connected.start_stream("cam0", "test://?size=1280x720&fps=30", timecode=True)
        yield connected


def _picture(reply: Any) -> npt.NDArray[np.uint8]:
    """The file of a reply, as RGB."""
    image = Image.open(io.BytesIO(base64.b64decode(reply["data"])))
    assert image.format == {"jpg": "JPEG", "png": "PNG"}[reply["format"]]
    assert image.size == (reply["width"], reply["height"])
    return np.asarray(image.convert("RGB"))


def _actual(client: Mesh, stream: str) -> Any:
    return client.call("capture.list", stream=stream)["streams"][0]["actual"] or {}


# -- snapshot --------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_of_this_moment(mesh: RunningMesh, client: Mesh) -> None:
    reply = client.call("capture.cam0.snapshot", quality=95)
    grey = np.ascontiguousarray(_picture(reply)[..., 1])
    now_ms = time.time_ns() // 1_000_000
    seen_ms = timecode.read(grey, now_ms)
    assert seen_ms is not None
    assert 0 <= now_ms - seen_ms < _MAX_AGE_MS, "the end of the command line is in it too"
    assert abs(seen_ms - reply["captured_ns"] // 1_000_000) < 50


@pytest.mark.parametrize("picture_format", ["jpg", "png"])
def test_the_colours_are_those_of_the_picture(mesh: RunningMesh, client: Mesh, picture_format: str) -> None:
    frame = next(iter(client.frames("cam0", timeout_seconds=5)))
    first = frame.bgr()[..., ::-1].copy()
    reply = client.call("capture.cam0.snapshot", format=picture_format, quality=100)
    # Not the same picture: what moves and what counts is left out of the comparison, as is the time code.
    still = np.s_[100:300, :, :]
    difference = np.abs(_picture(reply)[still].astype(int) - first[still].astype(int))
    columns = difference.mean(axis=(0, 2))
    assert np.median(columns) < _MEAN_ERROR


def test_a_snapshot_is_scaled_down_and_never_up(mesh: RunningMesh, client: Mesh) -> None:
    small = client.call("capture.cam0.snapshot", max_width=320, format="png")
    assert (small["width"], small["height"]) == (320, 180)
    assert _picture(small).shape == (180, 320, 3)
    assert client.call("capture.cam0.snapshot", max_width=16_384)["width"] == 1280


def test_decoding_begins_and_ends_with_a_snapshot(mesh: RunningMesh, client: Mesh) -> None:
    source = f"file://{mesh.media_dir}/bunny.mp4"
    client.call("capture.start", stream="clip", source=source)
    try:
        assert not _actual(client, "clip")["decoding"]
        assert client.call("capture.clip.stats")["frames"] == 0
        started = time.monotonic()
        reply = client.call("capture.clip.snapshot")
        took_seconds = time.monotonic() - started
        assert took_seconds < 3, "in mid-group, not at the next key picture, and not at the deadline"
        with av.open(str(bunny())) as container:
            # The clip says nothing: BT.709, of 720 lines.
            decoded = (frame.reformat(format="rgb24", src_colorspace="ITU709") for frame in container.decode(video=0))
            clip = [frame.to_ndarray()[::8, ::8].astype(int) for frame in decoded]
        shown = _picture(reply)[::8, ::8].astype(int)
        assert min(np.abs(shown - picture).mean() for picture in clip) < _MEAN_ERROR
        mesh.wait_for(lambda: not _actual(client, "clip")["decoding"], 3, "decoding has ended")
        written = client.call("capture.clip.stats")["frames"]
        time.sleep(0.5)
        assert client.call("capture.clip.stats")["frames"] == written < 50, "two seconds at most, on whatever machine"
    finally:
        client.call("capture.stop", stream="clip")


def test_many_at_once_share_the_work(mesh: RunningMesh, client: Mesh) -> None:
    client.call("capture.start", stream="busy", source="test://?size=640x360&fps=10")

    async def ask(count: int) -> list[Snapshot]:
        bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test", timeout_seconds=3)
        try:
            subject = command("capture", "snapshot", "busy")
            requests = [SnapshotRequest(quality=90 - number % 3) for number in range(count)]
            return await asyncio.gather(*(bus.request(subject, request, Snapshot) for request in requests))
        finally:
            await bus.drain()

    try:
        answers = asyncio.run(ask(60))
        assert len({answer.sequence for answer in answers}) <= 3, "one picture for all who ask in its time"
        assert len({answer.data for answer in answers}) <= 9
        assert client.call("capture.busy.stats")["dropped"].get("ring-full", 0) == 0
    finally:
        client.call("capture.stop", stream="busy")


def test_a_snapshot_of_a_lost_source_says_how_it_is(mesh: RunningMesh, client: Mesh) -> None:
    client.call("capture.start", stream="gone", source="rtsp://127.0.0.1:9/1", wait_s=0)
    try:
        mesh.wait_for(lambda: _actual(client, "gone").get("state") == "reconnecting", 5, "the source is refused")
        with pytest.raises(MeshError) as refused:
            client.call("capture.gone.snapshot", wait_s=0.5)
        assert refused.value.code == 503
        for words in ("gone", "0.5 s", "reconnecting", "refuses the connection"):
            assert words in refused.value.message
    finally:
        client.call("capture.stop", stream="gone")


def test_a_file_too_large_for_the_bus_names_the_width_that_fits(mesh: RunningMesh, client: Mesh) -> None:
    # Noise, as no codec makes it smaller: 2048 x 1536 x 3 bytes as png, and a third more in base64.
    noise = np.random.default_rng(1).integers(0, 256, (1536, 2048, 3), np.uint8)
    stop = threading.Event()
    with client.publish("noise", width=2048, height=1536, pixel_format="rgb24", fps=5) as stream:
        writing = threading.Thread(target=_write_until, args=(stream, noise, stop))
        writing.start()
        try:
            with pytest.raises(MeshError) as refused:
                client.call("capture.noise.snapshot", format="png")
            assert refused.value.code == 400
            fitting = int(refused.value.message.rpartition("use max_width ")[2].split()[0])
            reply = client.call("capture.noise.snapshot", format="png", max_width=fitting)
            assert 1000 < reply["width"] == fitting
        finally:
            stop.set()
            writing.join()


def _write_until(stream: Any, picture: npt.NDArray[np.uint8], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        stream.write(picture)


def test_the_command_line_saves_a_snapshot(mesh: RunningMesh, client: Mesh, tmp_path: Path) -> None:
    done = mesh.run("snapshot", "cam0", "-o", str(tmp_path / "a.png"), "--max-width", "640")
    assert (done.returncode, done.stderr) == (0, "")
    assert Image.open(tmp_path / "a.png").size == (640, 360)
    about = json.loads(mesh.run("snapshot", "cam0", "-o", str(tmp_path / "b.jpg"), "--json").stdout)
    assert Image.open(about["file"]).format == "JPEG"
    for arguments, words in (
        (("snapshot", "nobody"), "error 404: 'nobody' does not exist"),
        (("snapshot", "cam0", "-o", "a.gif"), "error 400: -o 'a.gif': end the name in .jpg or .png"),
        (("snapshot", "cam0", "--quality", "0"), "error 400: --quality: expected `int` >= 1"),
    ):
        refused = mesh.run(*arguments)
        assert refused.returncode == 1
        assert refused.stderr.startswith(words)


# -- stats -----------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_stream(mesh: RunningMesh, client: Mesh) -> None:
    with rtsp_server(live=True) as server:
        client.call("capture.start", stream="rtsp", source=f"rtsp://127.0.0.1:{server.port}/1")
        try:
            time.sleep(_RATE_SECONDS)
            stats = client.call("capture.rtsp.stats")
            assert (stats["state"], stats["status"], stats["node"]) == ("live", 2, "test")
            assert 25 < stats["fps"] < 35, "30 are sent"
            assert (stats["decoded_fps"], stats["frames"]) == (0, 0), "nobody looks"
            assert stats["bitrate"] > 100_000
            assert (stats["source_width"], stats["source_height"]) == (384, 64)
            assert time.time_ns() - stats["last_frame_ns"] < 2e9
            for number, _ in enumerate(client.frames("rtsp", timeout_seconds=5)):
                if number > 75:
                    break
            looked_at = client.call("capture.rtsp.stats")
            assert 20 < looked_at["decoded_fps"] < 35
            assert looked_at["sequence"] >= looked_at["frames"] > 70
            assert (looked_at["width"], looked_at["height"], looked_at["pixel_format"]) == (384, 64, "yuv420p")
            assert json.loads(mesh.run("stats", "rtsp", "--json").stdout)[0]["stream"] == "rtsp"
            assert "rtsp" in mesh.run("stats").stdout
        finally:
            client.call("capture.stop", stream="rtsp")


def test_a_lost_source_has_status_4(mesh: RunningMesh, client: Mesh) -> None:
    client.call("capture.start", stream="gone", source="rtsp://127.0.0.1:9/1", wait_s=0)
    try:
        mesh.wait_for(lambda: _actual(client, "gone").get("restarts", 0) >= 2, 10, "opened again")
        stats = client.call("capture.gone.stats")
        assert (stats["state"], stats["status"], stats["fps"]) == ("reconnecting", 4, 0)
        assert stats["error"]["code"] == 503
        assert "refuses the connection" in mesh.run("stats").stdout
    finally:
        client.call("capture.stop", stream="gone")
    with pytest.raises(MeshError) as silent:
        client.call("capture.gone.stats")
    assert "nobody answers" in silent.value.message, "the commands have ended with the stream"


# -- configure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"exposure": 5}, "profile: object contains unknown field `exposure`; there are size, fps"),
        ({"crop": 5}, "profile.crop 5: expected `str | null`"),
        ({"crop": "640x480"}, "crop '640x480': write WIDTHxHEIGHT+X+Y"),
        ({"crop": "1280x720+2+0"}, "crop '1280x720+2+0': keep it within the source's picture, 1280x720"),
        ({"rotate": 45}, "profile.rotate 45: use one of 0, 90, 180, 270"),
        ({"masks": [{"x": 0.5, "y": 0, "width": 0.6, "height": 1}]}, "masks[0] "),
        ({"binning": "2x2"}, "binning '2x2': only v4l2:// and genicam:// cameras"),
        ({"bit_depth": 12}, "bit_depth 12: only"),
        ({"trigger": "Line1"}, "trigger 'Line1': only"),
        ({"controls": {"gain": 3}}, "controls.gain 3: only"),
        ({"controls": {"gain": [3]}}, "profile.controls.gain […]: expected"),
        ({"size": "64x32"}, "size '64x32': the pattern needs"),
    ],
)
@pytest.mark.parametrize("apply", [True, False])
def test_a_bad_profile_leaves_the_camera_as_it_was(
    mesh: RunningMesh, client: Mesh, profile: dict[str, Any], words: str, apply: bool
) -> None:
    before = client.call("capture.list", stream="cam0")
    with pytest.raises(MeshError) as refused:
        client.call("capture.cam0.configure", profile=profile, apply=apply)
    assert refused.value.code == 400
    assert words in refused.value.message
    after = client.call("capture.list", stream="cam0")
    assert after["streams"][0]["revision"] == before["streams"][0]["revision"]
    assert after["streams"][0]["actual"]["epoch"] == before["streams"][0]["actual"]["epoch"], "it was not restarted"


def test_a_good_profile_stands_for_all_settings(mesh: RunningMesh, client: Mesh, tmp_path: Path) -> None:
    source = f"file://{mesh.media_dir}/bunny.mp4"
    started = client.call("capture.start", stream="turned", source=source, timecode=True)
    try:
        judged = client.call("capture.turned.configure", profile={"rotate": 90}, apply=False)
        assert judged["revision"] == started["revision"]
        assert judged["actual"]["state"] == "live"
        changed = client.call("capture.turned.configure", profile={"rotate": 90, "crop": "640x480+0+0"})
        assert changed["actual"]["state"] == "live"
        assert changed["actual"]["epoch"] == started["actual"]["epoch"], "taken on without a restart"
        shot = client.call("capture.turned.snapshot")
        assert (shot["width"], shot["height"]) == (480, 640)
        spec = client.call("capture.list", stream="turned")["streams"][0]["spec"]
        assert (spec["rotate"], spec["crop"], spec["timecode"]) == (90, "640x480+0+0", True)
        again = client.call("capture.turned.configure", profile={"rotate": 90, "crop": "640x480+0+0"})
        assert again["revision"] == changed["revision"], "the same again changes nothing"
        with pytest.raises(MeshError) as stale:
            client.call("capture.turned.configure", profile={}, revision=started["revision"])
        assert stale.value.code == 409
        shown = mesh.run("profile", "show", "turned").stdout
        assert json.loads(shown) == {"rotate": 90, "crop": "640x480+0+0"}
        (tmp_path / "plain.json").write_text("{}")
        assert mesh.run("profile", "check", "turned", str(tmp_path / "plain.json")).returncode == 0
        assert mesh.run("profile", "apply", "turned", str(tmp_path / "plain.json")).returncode == 0
        assert client.call("capture.turned.snapshot")["width"] == 1280
        (tmp_path / "bad.json").write_text('{"crop": "8x8+5000+0"}')
        refused = mesh.run("profile", "apply", "turned", str(tmp_path / "bad.json"))
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"error 400: {tmp_path / 'bad.json'}: crop '8x8+5000+0': ")
    finally:
        client.call("capture.stop", stream="turned")


def test_a_profile_keeps_the_source_s_password(mesh: RunningMesh, client: Mesh) -> None:
    logins: list[str] = []

    def replies(line: str, headers: dict[str, str]) -> bytes | None:
        if line.startswith("DESCRIBE") and "authorization" not in headers:
            return b'RTSP/1.0 401 Unauthorized\r\nCSeq: %d\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n' % int(
                headers["cseq"]
            )
        if line.startswith("DESCRIBE"):
            logins.append(base64.b64decode(headers["authorization"].split()[1]).decode())
        return None

    with rtsp_server(replies, live=True) as server:
        url = f"rtsp://admin:hunter2-of-rtsp@127.0.0.1:{server.port}/1"
        client.call("capture.start", stream="locked", source=url)
        try:
            changed = client.call("capture.locked.configure", profile={"rotate": 180})
            assert changed["actual"]["state"] == "live"
            client.call("capture.locked.configure", profile={}, validate=False)
            entry = client.call("capture.list", stream="locked")["streams"][0]
            assert entry["spec"]["source"] == url.replace("hunter2-of-rtsp", "***")
            assert entry["spec"]["source_secret"].startswith("secret://capture.locked@")
            mesh.kill("capture")  # what was written is what a new capture opens
            mesh.wait_for(
                lambda: (mesh.actual("streams", "locked") or {}).get("epoch") != changed["actual"]["epoch"], 20
            )
            mesh.wait_for(lambda: _actual(client, "locked").get("state") == "live", 20, "live with its password")
            assert set(logins) == {"admin:hunter2-of-rtsp"}
        finally:
            client.call("capture.stop", stream="locked")


def test_two_who_configure_at_once_are_both_done(mesh: RunningMesh, client: Mesh) -> None:
    client.call("capture.start", stream="both", source="test://?size=640x360&fps=10")
    try:
        with ThreadPoolExecutor(4) as pool:
            changes = list(
                pool.map(
                    lambda turn: client.call("capture.both.configure", profile={"rotate": turn}), (90, 180, 270, 0)
                )
            )
        assert len({change["revision"] for change in changes}) >= 3
        assert _actual(client, "both")["revision"] == max(change["revision"] for change in changes)
    finally:
        client.call("capture.stop", stream="both")


def test_what_no_camera_is_there_for(mesh: RunningMesh, client: Mesh) -> None:
    for verb, request, words in (
        ("trigger", {}, "only cameras with trigger: software"),
        ("ptz", {"action": "status"}, "not a camera that moves"),
    ):
        with pytest.raises(MeshError) as refused:
            client.call(f"capture.cam0.{verb}", **request)
        assert refused.value.code == 409
        assert words in refused.value.message


def test_the_commands_are_there_as_soon_as_a_stream_is(mesh: RunningMesh, client: Mesh) -> None:
    async def start_and_ask(number: int) -> StreamChanged | MeshError:
        bus = await Bus.connect(mesh.environment["FRAMEMESH_NATS_URL"], name="test", timeout_seconds=3)
        name = f"quick{number}"
        try:
            start = json.dumps({"stream": name, "source": "test://?size=640x360&fps=5"}).encode()
            await bus.request_raw(command("capture", "start"), start)
            request = ConfigureStream(profile=PictureSettings(rotate=180))
            return await bus.request(command("capture", "configure", name), request, StreamChanged)
        except MeshError as error:
            return error
        finally:
            await bus.request_raw(command("capture", "stop"), json.dumps({"stream": name}).encode())
            await bus.drain()

    for number in range(5):
        answer = asyncio.run(start_and_ask(number))
        assert isinstance(answer, StreamChanged), answer


# -- devices ---------------------------------------------------------------------------------------------------------


def test_a_node_lists_its_cameras(mesh: RunningMesh, client: Mesh) -> None:
    listed = client.call("capture.test.devices", refresh=True)
    assert listed["node"] == "test"
    assert abs(time.time_ns() - listed["at_ns"]) < 30e9
    assert client.call("capture.test.devices")["at_ns"] == listed["at_ns"], "kept until asked to look again"
    assert mesh.run("devices").returncode == 0
    assert json.loads(mesh.run("devices", "--refresh", "--json").stdout)[0]["node"] == "test"
    unknown = mesh.run("devices", "--node", "elsewhere")
    assert unknown.returncode == 1
    assert "nobody answers" in unknown.stdout


def test_a_restart_opens_the_source_anew(mesh: RunningMesh, client: Mesh) -> None:
    client.start_stream("again", "test://?size=384x216&fps=15")
    before = mesh.actual("streams", "again")
    assert mesh.call("capture.again.restart") == {"restarted": True}
    after = mesh.wait_for(
        lambda: (now := mesh.actual("streams", "again"))["epoch"] > before["epoch"] and now["state"] == "live" and now,
        what="live again",
    )
    assert after["restarts"] == before["restarts"] + 1
    assert after["revision"] == before["revision"], "what was asked for is as it was"
    mesh.call("capture.stop", stream="again")

"""Bad input: one clear line that names field, value and fix, the right code, and nothing else disturbed."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from schemas.errors import MeshError
from schemas.subjects import PREFIX
from shared.bus import Bus
from tests.support.counter_watch import figure
from tests.support.mesh import RunningMesh, bunny

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

_MAX_LINE_CHARACTERS = 500
_REPLY_SECONDS = 10.0
_ID_RULE = "1-63 of a-z, 0-9"


class Answer(Exception):
    """A refusal: code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh("--source", str(bunny())) as running:
        running.wait_for(lambda: running.status()["streams"], 10, "the stream that `up` starts")
        running.call("hw-encode.start", stream="cam0", rendition="main", always=True)
        (running.media_dir / "clips").mkdir()
        (running.media_dir / "text.mp4").write_text("this is no media\n" * 100)
        _hevc_clip(running.media_dir / "hevc.mp4")
        running.wait_for(lambda: _frames(running) > 0, 10, "frames")
        yield running


def _hevc_clip(path: Path) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"preset": "ultrafast", "x265-params": "log-level=0"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(50):
            picture = np.full((540, 640), (number * 5) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "yuv420p")))
        container.mux(stream.encode(None))


def _frames(mesh: RunningMesh) -> float:
    return figure(mesh.ready["metrics"]["capture"], "framemesh_capture_frames_total", stream="cam0")


def _status(mesh: RunningMesh) -> Any:
    """As the console gets it: much quicker than a command line."""
    with urllib.request.urlopen(mesh.console + "api/status", timeout=_REPLY_SECONDS) as response:
        return json.load(response)


def _watched(mesh: RunningMesh) -> Any:
    entry = next(one for one in _status(mesh)["streams"] if one["spec"]["stream"] == "cam0")
    return entry["revision"], entry["spec"], {name: entry["actual"].get(name) for name in ("state", "epoch", "error")}


@pytest.fixture(autouse=True)
def _nothing_disturbed(mesh: RunningMesh) -> Iterator[None]:
    before, pids = _watched(mesh), mesh.pids()
    yield
    frames = _frames(mesh)
    mesh.wait_for(lambda: _frames(mesh) > frames, 2, "cam0 going on")
    assert _watched(mesh) == before
    assert mesh.pids() == pids, "no service was restarted"


def request(mesh: RunningMesh, subject: str, body: bytes | dict[str, Any]) -> Any:
    """Raises `Answer` when refused."""

    async def ask() -> bytes:
        bus = await Bus.connect(mesh.ready["nats"], name="test", timeout_seconds=3)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            return await bus.request_raw(f"{PREFIX}.cmd.{subject}", data, _REPLY_SECONDS)
        finally:
            await bus.drain()

    try:
        return json.loads(asyncio.run(ask()))
    except MeshError as error:
        raise Answer(error.code, error.message) from None


def refused(mesh: RunningMesh, subject: str, body: bytes | dict[str, Any], code: int, *words: str) -> str:
    """The one line, which has all the words."""
    with pytest.raises(Answer) as caught:
        request(mesh, subject, body)
    _one_line(caught.value.text, *words)
    assert caught.value.code == code, caught.value
    return caught.value.text


def _one_line(text: str, *words: str) -> None:
    assert "\n" not in text
    assert len(text) < _MAX_LINE_CHARACTERS
    assert "Traceback" not in text
    assert " at 0x" not in text
    for word in words:
        assert word in text, text


def _streams(mesh: RunningMesh) -> set[str]:
    return {one["spec"]["stream"] for one in _status(mesh)["streams"]}


GOOD = {"stream": "other", "source": "test://?size=640x360&fps=5"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sise": "640x360"}, ("sise", "there are", "size")),
        ({"source": None}, ("source", "null")),
        ({"source": 5}, ("source", "5", "str")),
        ({"stream": 7}, ("stream", "7")),
        ({"fps": "abc"}, ("fps", "abc", "float")),
        ({"fps": 0}, ("fps", "0")),
        ({"fps": 1000}, ("fps", "1000", "240")),
        ({"size": "641x361"}, ("size", "641x361", "even")),
        ({"size": "big"}, ("size", "big", "1280x720")),
        ({"delivery": "later"}, ("delivery", "later", "live")),
        ({"wait_s": -1}, ("wait_s", "-1")),
        ({"wait_s": 1000}, ("wait_s", "1000", "60")),
        ({"source_secret": "secret://x"}, ("source_secret", "leave it out")),
        *[({"stream": bad}, ("stream", _ID_RULE)) for bad in
          ("Cam0", "a" * 64, "a--b", "a\n", "", "kämera", "../etc", "a b", "-a", "a-", "a.b", "*", ">")],
        ({"source": ""}, ("source", "://")),
        ({"source": "not a url"}, ("source", "not a url", "rtsp")),
        ({"source": "ftp://host/x"}, ("source", "ftp", "rtsp")),
        ({"source": "rtsp://[::1/x"}, ("source", "rtsp://[::1/x", "IPv6")),
        ({"source": "test://" + "?" * 70_000}, ("source", "bytes", "65536")),
        ({"controls": {"a": "x" * 70_000}}, ("controls", "bytes", "65536")),
        ({"source": "http://"}, ("source", "host")),
        ({"source": "rtsp://host:99999/x"}, ("source", "rtsp://host:99999/x", "port")),
        ({"source": "rtsp://exa mple/x"}, ("source", "escape spaces")),
        ({"source": "file://"}, ("source", "path")),
        ({"source": "file:///etc/passwd"}, ("source", "/etc/passwd", "must lie under")),
        ({"source": "file://../../../../etc/passwd"}, ("source", "must lie under")),
        ({"source": "file://text.mp4"}, ("text.mp4", "not media")),
        ({"source": "v4l2:///etc/passwd"}, ("source", "/dev/video0")),
        ({"source": "test://?size=abc"}, ("size", "abc")),
        ({"source": "test://?colour=red"}, ("colour", "takes size")),
    ],
    ids=lambda value: json.dumps(value)[:80] if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_stream_that_can_never_work(mesh: RunningMesh, change: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(mesh, "capture.start", GOOD | change, 400, *words)
    assert _streams(mesh) == {"cam0"}, "nothing is left of it"


@pytest.mark.parametrize("source", ["rtsp:/admin:hunter2@camera/x", "//admin:hunter2@camera/x", "rtsp:x?token=hunter2"])
def test_a_mistyped_source_does_not_show_its_password(mesh: RunningMesh, source: str) -> None:
    assert "hunter2" not in refused(mesh, "capture.start", GOOD | {"source": source}, 400, "source", "rtsp")


@pytest.mark.parametrize("source", ["file:///etc/passwd", "file://text.mp4", "http://", "x", "ftp://a/b"])
def test_a_bad_update_leaves_the_working_stream_running(mesh: RunningMesh, source: str) -> None:
    refused(mesh, "capture.start", {"stream": "cam0", "source": source}, 400)


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("file://nope.mp4", 404, ("nope.mp4", "no such file")),
        ("file://clips", 404, ("file://clips", "no file in this folder")),
        ("v4l2:///dev/video77", 404, ("video77", "plugged in")),
        ("rtsp://127.0.0.1:1/x", 503, ("rtsp://127.0.0.1:1/x", "refuses")),
        ("http://127.0.0.1:1/x.mp4", 503, ("127.0.0.1:1", "refused")),
        ("rtsp://no-such-host.invalid/x", 503, ("no-such-host.invalid", "cannot be resolved")),
        ("rtsp://user:hunter2@127.0.0.1:1/x", 503, ("refuses",)),
    ],
)
def test_a_source_that_is_not_there(mesh: RunningMesh, source: str, code: int, words: tuple[str, ...]) -> None:
    """It is wanted, and tried again: the state says why not, and so does the reply."""
    text = refused(mesh, "capture.start", {"stream": "other", "source": source}, code, *words)
    assert "hunter2" not in text
    status = json.dumps(_status(mesh))
    assert "hunter2" not in status
    actual = mesh.actual("streams", "other")
    assert (actual["error"]["code"], actual["error"]["message"]) == (code, text)
    assert "hunter2" not in mesh.log.read_text()
    assert request(mesh, "capture.stop", {"stream": "other"})["code"] == 200


@pytest.mark.parametrize(
    ("subject", "body", "code", "words"),
    [
        ("capture.start", b'{"stream": "x",', 400, ("not JSON", "truncated")),
        ("capture.start", b"[]", 400, ("object", "array")),
        ("capture.start", b"\xff\xfe", 400, ("not JSON",)),
        ("capture.start", b"", 400, ("missing", "stream")),
        ("capture.start", b'{"source":"test://"}', 400, ("missing", "stream")),
        ("capture.start", b'{"stream":"x"}', 400, ("missing", "source")),
        ("capture.start", b"[" * 100_000, 400, ()),
        ("capture.stop", {"stream": "nope"}, 404, ("nope", "capture.list")),
        ("capture.fly", {}, 503, ("capture.fly", "name right")),
        ("hw-encode.cam0--nope.keyframe", {}, 503, ("cam0--nope",)),
        ("hw-encode.start", {"stream": "nope"}, 404, ("nope", "capture.start")),
        ("hw-encode.start", {"stream": "cam0", "rendition": "source"}, 400, ("rendition", "source", "choose another")),
        ("hw-encode.start", {"stream": "cam0", "rendition": "low", "bitrate": "fast"}, 400, ("bitrate", "fast", "4M")),
        ("hw-encode.start", {"stream": "cam0", "rendition": "low", "codec": "h266"}, 400, ("codec", "h266", "h264")),
        ("hw-encode.start", {"stream": "cam0", "rendition": "low", "key_interval": "x"}, 400, ("key_interval", "2s")),
        ("hw-encode.start", {"stream": "cam0", "rendition": "low", "encoder": "gpu"}, 400, ("encoder", "prefer-hw")),
        ("hw-encode.start", {"stream": "cam0", "rendition": "Low"}, 400, ("rendition", "Low", _ID_RULE)),
        ("hw-encode.stop", {"stream": "cam0", "rendition": "nope"}, 404, ("cam0--nope",)),
        (
            "publisher.start",
            {"stream": "cam0", "output": "x", "rendition": "nope", "to": "file://x.mp4"},
            404,
            ("cam0", "nope", "hw-encode.start"),
        ),
        ("publisher.start", {"stream": "nope", "output": "o", "to": "file://a.mp4"}, 404, ("nope", "capture.start")),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": ""}, 400, ("to", "rtmp://")),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "ftp://a/b"}, 400, ("to", "ftp://a/b", "rtmp://")),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "file:///etc/x.mp4"}, 400, ("/etc/x.mp4", "media")),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "file://../x.mp4"}, 400, ("to", "..")),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "file://{a}.mp4"}, 400, ("{a}", "{stream}")),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "file://a.avi"}, 400, ("a.avi", ".mp4")),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "file://a.mp4", "format": "avi"}, 400, ("mp4",)),
        ("publisher.start", {"stream": "cam0", "output": "o", "to": "rtmp://"}, 400, ("to", "host")),
        ("publisher.start", {"stream": "cam0", "output": "O"}, 400, ()),
        ("publisher.stop", {"stream": "cam0", "output": "nope"}, 404, ("cam0--nope",)),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, bytes | dict) else "",
)
def test_a_command_that_is_refused(
    mesh: RunningMesh, subject: str, body: bytes | dict[str, Any], code: int, words: tuple[str, ...]
) -> None:
    before = [(one["revision"], one["spec"]) for kind in ("renditions", "outputs") for one in _status(mesh)[kind]]
    refused(mesh, subject, body, code, *words)
    after = [(one["revision"], one["spec"]) for kind in ("renditions", "outputs") for one in _status(mesh)[kind]]
    assert after == before


def test_a_stale_revision(mesh: RunningMesh) -> None:
    refused(mesh, "capture.start", {"stream": "cam0", "source": "test://", "revision": 999_999}, 409, "999999", "again")
    refused(mesh, "capture.stop", {"stream": "cam0", "revision": 999_999}, 409, "999999")


def test_a_codec_that_the_output_cannot_carry(mesh: RunningMesh) -> None:
    assert request(mesh, "capture.start", {"stream": "hevc", "source": "file://hevc.mp4"})["actual"]["state"] == "live"
    body = {"stream": "hevc", "output": "push", "rendition": "source", "to": "rtmp://127.0.0.1:1/live/hunter2"}
    text = refused(mesh, "publisher.start", body, 409, "hevc", "h264")
    assert "hunter2" not in text
    assert request(mesh, "capture.stop", {"stream": "hevc"})["code"] == 200


def test_shared_memory_that_is_too_small(tmp_path: Path) -> None:
    """A mesh of its own, in a shared memory of 8 MiB."""
    small = tmp_path / "shm"
    small.mkdir()
    environment = {
        "FRAMEMESH_SHM_DIR": str(small / "rings"),
        "FRAMEMESH_HW_ENCODE_PACKET_RING_BYTES": str(1 << 20),
    }
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        with RunningMesh(environment=environment) as own:
            fits = {"stream": "small", "source": "test://?size=384x216&fps=10"}
            assert request(own, "capture.start", fits)["code"] == 200
            request(own, "hw-encode.start", {"stream": "small", "always": True})
            url = own.ready["metrics"]["capture"]
            written = "framemesh_capture_frames_total"
            own.wait_for(lambda: figure(url, written, stream="small") > 0, 5, "frames of the small one")
            assert request(own, "capture.start", {"stream": "big", "source": "test://?size=3840x2160"})["code"] == 200
            request(own, "hw-encode.start", {"stream": "big", "always": True, "wait_s": 0})
            own.wait_for(lambda: own.actual("streams", "big")["error"], 5, "the error")
            error = own.actual("streams", "big")["error"]
            assert error["code"] == 507
            _one_line(error["message"], "bytes needed", "bytes free", "FRAMEMESH_SHM_DIR")
            before = figure(url, written, stream="small")
            own.wait_for(lambda: figure(url, written, stream="small") > before + 10, 5, "the small one going on")
            assert own.actual("streams", "small")["error"] is None
    finally:
        subprocess.run(["umount", str(small)], check=True)


# -- the HTTP door ---------------------------------------------------------------------------------------------------


def door(mesh: RunningMesh, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(mesh.console + path, data=body, method=method, headers=named)
    try:
        with urllib.request.urlopen(asked, timeout=_REPLY_SECONDS) as response:
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


OFFER = (Path(__file__).parent.parent / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "code", "words"),
    [
        ("POST", "whep/cam0", b"this is no sdp", "application/sdp", 400, ("offer",)),
        ("POST", "whep/cam0", b"", "application/sdp", 400, ("offer",)),
        ("POST", "whep/cam0", b"\xff\xfe\x00", "application/sdp", 400, ("UTF-8",)),
        ("POST", "whep/nope", OFFER, "application/sdp", 404, ("nope",)),
        ("POST", "whep/cam0/nope", OFFER, "application/sdp", 404, ("nope",)),
        ("POST", "whep/CAM0", OFFER, "application/sdp", 400, ("CAM0", _ID_RULE)),
        ("POST", "whep/a--b", OFFER, "application/sdp", 400, ("a--b", _ID_RULE)),
        ("POST", "whep/cam0", OFFER, "text/plain", 415, ("application/sdp",)),
        ("POST", "whep/cam0", b"x" * 1_000_000, "application/sdp", 413, ("bytes",)),
        ("DELETE", "whep/cam0/main/nope", None, "", 404, ("session",)),
        ("PATCH", "whep/cam0/main/nope", b"", "application/trickle-ice-sdpfrag", 404, ("session",)),
        ("GET", "no/such/page", None, "", 404, ()),
        ("GET", "console/../../service.py", None, "", 404, ()),
        ("GET", "console/%2e%2e/%2e%2e/http.py", None, "", 404, ()),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, str | bytes) else "",
)
def test_the_door_refuses(
    mesh: RunningMesh, method: str, path: str, body: bytes | None, kind: str, code: int, words: tuple[str, ...]
) -> None:
    headers = {"Content_Type": kind} if kind else {}
    found, text = door(mesh, method, path, body, **headers)
    assert found == code, text
    if words:
        error = json.loads(text)
        assert error["code"] == code
        _one_line(error["message"], *words)
    assert request(mesh, "webrtc-gateway.sessions", {})["sessions"] == []

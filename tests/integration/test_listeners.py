"""Sources that wait for a sender: UDP, multicast, SRT; and live bodies and playlists over HTTP, with their delay."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import client
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.peers import free_port
from tests.support.senders import HlsPlaylist, camera_clip

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

_LIVE_SECONDS = 20.0


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    seconds = {"FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": "2", "FRAMEMESH_CAPTURE_OPEN_TIMEOUT_SECONDS": "20"}
    with RunningMesh(environment=seconds) as running:
        yield running


@contextlib.contextmanager
def _sending(*target: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = ["ffmpeg", "-v", "error", "-y", "-re", "-stream_loop", "-1", "-i", str(camera_clip())]
    process = subprocess.Popen([*command, *target], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _state(mesh: RunningMesh, stream: str) -> str:
    actual = mesh.actual("streams", stream)
    return str(actual["state"]) if actual else ""


@pytest.mark.parametrize(
    ("source", "target"),
    [
        # test_mesh_sources has such a sender come and go.
        pytest.param("udp://:{port}", "udp://127.0.0.1:{port}?pkt_size=1316", marks=pytest.mark.long),
        pytest.param(
            "udp://0.0.0.0:{port}?fifo_size=100000&overrun_nonfatal=1",
            "udp://127.0.0.1:{port}?pkt_size=1316",
            marks=pytest.mark.long,
        ),
        ("udp://239.255.7.3:{port}?localaddr=127.0.0.1", "udp://239.255.7.3:{port}?localaddr=127.0.0.1&ttl=0"),
        pytest.param("srt://0.0.0.0:{port}?mode=listener", "srt://127.0.0.1:{port}", marks=pytest.mark.long),
        (
            "srt://:{port}?mode=listener&passphrase=0123456789abcdef&latency=50000",
            "srt://127.0.0.1:{port}?passphrase=0123456789abcdef",
        ),
    ],
)
def test_a_sender_comes_goes_and_comes_again(mesh: RunningMesh, source: str, target: str) -> None:
    port = free_port()
    url = source.format(port=port)
    mesh.call("capture.start", stream="waits", source=url, wait_s=0)
    waiting = mesh.wait_for(lambda: (mesh.actual("streams", "waits") or {}).get("waiting_for"), 10, "waiting")
    assert str(port) in waiting
    assert _state(mesh, "waits") == "connecting"
    if "passphrase" in url:
        with _sending("-c", "copy", "-f", "mpegts", f"srt://127.0.0.1:{port}?passphrase=another-passphrase"):
            time.sleep(1)
            assert _state(mesh, "waits") != "live"
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            # A sender that was refused while nobody listened tries again, as encoders do.
            deadline = time.monotonic() + _LIVE_SECONDS
            sender = stack.enter_context(_sending("-c", "copy", "-f", "mpegts", target.format(port=port)))
            while _state(mesh, "waits") != "live":
                assert time.monotonic() < deadline, mesh.actual("streams", "waits")
                if sender.poll() is not None:
                    sender = stack.enter_context(_sending("-c", "copy", "-f", "mpegts", target.format(port=port)))
            video = mesh.actual("streams", "waits")["video"]
            assert (video["codec"], video["width"], video["height"]) == ("h264", 640, 360)
        mesh.wait_for(lambda: _state(mesh, "waits") != "live", 15, "the loss is seen")
    mesh.call("capture.stop", stream="waits")
    mesh.wait_for(lambda: not _children(mesh), 5, "no child is left")
    assert "0123456789abcdef" not in mesh.log.read_text()


def _children(mesh: RunningMesh) -> list[str]:
    capture = mesh.pids()["capture"]
    tasks = Path(f"/proc/{capture}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.parametrize("source", ["udp://127.0.0.1:{port}", "srt://127.0.0.1:{port}?mode=listener"])
def test_a_port_in_use_is_named(mesh: RunningMesh, source: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(CallFailed) as refused:
            mesh.call("capture.start", stream="taken", source=source.format(port=port))
        assert f"UDP port {port} is in use" in refused.value.message
    mesh.call("capture.stop", stream="taken")


def test_a_key_picture_that_comes_late(mesh: RunningMesh) -> None:
    port = free_port()
    encoder = [
        "-an",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "200",
        "-keyint_min",
        "200",
        "-sc_threshold",
        "0",
    ]
    with _sending(*encoder, "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"):
        time.sleep(1.5)  # into the group of pictures: 6.5 s to the next key picture
        mesh.call("capture.start", stream="late", source=f"udp://127.0.0.1:{port}", wait_s=0)
        mesh.wait_for(lambda: _state(mesh, "late") == "live", 30, "live at the key picture")
        video = mesh.actual("streams", "late")["video"]
        assert (video["width"], video["height"]) == (640, 360)
        picture = mesh.call("capture.late.snapshot", format="jpg")
        assert (picture["width"], picture["height"]) == (640, 360)
    mesh.call("capture.stop", stream="late")


@pytest.mark.parametrize(("form", "suffix"), [("flv", "flv"), ("mpegts", "ts")])
def test_a_live_body_over_http(mesh: RunningMesh, form: str, suffix: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/live.{suffix}"
    with _sending("-c", "copy", "-f", form, "-listen", "1", url):
        mesh.call("capture.start", stream="body", source=url, wait_s=0)
        mesh.wait_for(lambda: _state(mesh, "body") == "live", _LIVE_SECONDS, "live")
        mesh.wait_for(lambda: 15 < mesh.call("capture.body.stats")["fps"] < 35, 15, "at its own speed")
    mesh.wait_for(lambda: _state(mesh, "body") != "live", 15, "the loss is seen")
    mesh.call("capture.stop", stream="body")


@pytest.mark.long
def test_a_live_playlist_is_two_to_three_segments_old(mesh: RunningMesh, tmp_path: Path) -> None:
    """The clip says nothing of its time, so the delay is told by the playlist: what is the newest, what is played."""
    hls = HlsPlaylist(tmp_path)
    with hls.serving(), hls.sending():
        time.sleep(5)  # a playlist that has run for a while
        mesh.call("capture.start", stream="hls", source=hls.url)
        with client(mesh) as app, app.frames("hls", timeout_seconds=15) as frames:
            times = [(frame.ref.pts_ns, time.time_ns()) for _, frame in zip(range(100), frames, strict=False)]
        media_seconds = (times[-1][0] - times[0][0]) / 1e9
        wall_seconds = (times[-1][1] - times[0][1]) / 1e9
        assert abs(media_seconds - wall_seconds) < 1.0, "played at its own speed, not in bursts and not ever later"
    mesh.call("capture.stop", stream="hls")


def test_a_silent_peer_does_not_hold_a_stream_that_shall_stop(mesh: RunningMesh) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        urls = [f"{scheme}://127.0.0.1:{port}/live/x" for scheme in ("rtsp", "rtmp", "http")]
        for number, url in enumerate(urls):
            mesh.call("capture.start", stream=f"silent{number}", source=url, wait_s=0)
        time.sleep(1)  # they wait for an answer by now, and would for 20 s
        for number, url in enumerate(urls):
            began = time.monotonic()
            assert mesh.call("capture.stop", stream=f"silent{number}")["code"] == 200, url
            assert time.monotonic() - began < 4, f"{url}: the stop waited for the silent peer"

"""RTSP cameras of another make: TCP, UDP, logins, H.265, sound, and the camera's own clock."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import client
from tests.support.gst_rtsp import PASSWORD, USER, GstRtspServer, elementary_video
from tests.support.mesh import CallFailed, RunningMesh

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

_LIVE_SECONDS = 12.0


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    quick = {"FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": "2", "FRAMEMESH_CAPTURE_OPEN_TIMEOUT_SECONDS": "3"}
    with RunningMesh(environment=quick) as running:
        yield running


@pytest.fixture(scope="module")
def cameras() -> Iterator[GstRtspServer]:
    h264, h265 = elementary_video(), elementary_video("h265")
    mounts = {
        "h264": str(h264),
        "h265": f"{h265},codec=h265",
        "udp-only": f"{h264},transport=udp",
        "tcp-only": f"{h264},transport=tcp",
        "sound": f"{h264},sound",
    }
    with GstRtspServer(mounts) as server:
        yield server


def _live(mesh: RunningMesh, stream: str) -> dict[str, object]:
    def live() -> dict[str, object] | None:
        actual = mesh.actual("streams", stream)
        return actual if actual and actual["state"] == "live" else None

    found: dict[str, object] = mesh.wait_for(live, _LIVE_SECONDS, f"{stream} is live")
    return found


@pytest.mark.parametrize(
    ("mount", "transport", "codec"),
    [
        ("h264", "auto", "h264"),
        ("h264", "tcp", "h264"),
        ("h264", "udp", "h264"),
        ("h265", "auto", "hevc"),
        ("udp-only", "auto", "h264"),
        ("tcp-only", "auto", "h264"),
    ],
)
def test_a_camera_plays(mesh: RunningMesh, cameras: GstRtspServer, mount: str, transport: str, codec: str) -> None:
    name = f"{mount}-{transport}"
    mesh.call("capture.start", stream=name, source=cameras.url(mount), transport=transport)
    actual = _live(mesh, name)
    video = actual["video"]
    assert isinstance(video, dict)
    assert (video["codec"], video["width"], video["height"]) == (codec, 1280, 720)
    picture = mesh.call(f"capture.{name}.snapshot", format="png")
    assert (picture["width"], picture["height"]) == (1280, 720)
    mesh.call("capture.stop", stream=name)


@pytest.mark.parametrize(("mount", "transport"), [("udp-only", "tcp"), ("tcp-only", "udp")])
def test_a_transport_that_the_camera_refuses(
    mesh: RunningMesh, cameras: GstRtspServer, mount: str, transport: str
) -> None:
    name = f"{mount}-{transport}"
    with pytest.raises(CallFailed) as refused:
        mesh.call("capture.start", stream=name, source=cameras.url(mount), transport=transport)
    assert "transport" in str(refused.value)
    mesh.call("capture.stop", stream=name)


def test_sound_that_the_mesh_does_not_carry_is_still_heard(mesh: RunningMesh, cameras: GstRtspServer) -> None:
    mesh.call("capture.start", stream="sound", source=cameras.url("sound"))
    actual = _live(mesh, "sound")
    assert actual["audio"] == {"codec": "pcm_alaw", "sample_rate": 8000, "channels": 1}
    assert actual["source_tracks"] == ["video"]
    mesh.call("capture.stop", stream="sound")


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_a_camera_with_a_login(mesh: RunningMesh, kind: str) -> None:
    mount = f"{elementary_video()},user={USER},password={PASSWORD},auth={kind}"
    with GstRtspServer({"cam": mount}) as camera:
        with pytest.raises(CallFailed) as refused:
            mesh.call("capture.start", stream=kind, source=camera.url("cam", f"{USER}:not-{PASSWORD}@"))
        assert "credentials" in str(refused.value)
        mesh.call("capture.start", stream=kind, source=camera.url("cam", f"{USER}:{PASSWORD}@"))
        _live(mesh, kind)
        assert PASSWORD not in json.dumps(mesh.status())
        for pid in mesh.pids().values():
            assert PASSWORD not in Path(f"/proc/{pid}/cmdline").read_text()
        mesh.call("capture.stop", stream=kind)
    assert PASSWORD not in mesh.log.read_text()


def test_a_picture_is_as_old_as_the_camera_says(mesh: RunningMesh, cameras: GstRtspServer) -> None:
    mesh.call("capture.start", stream="clocked", source=cameras.url("h264"))
    with client(mesh) as app:
        for frame in app.frames("clocked", timeout_seconds=10):
            if frame.ref.clock == "rtcp":
                break
        age_seconds = (time.time_ns() - frame.ref.captured_ns) / 1e9
        assert 0 <= age_seconds < 2
    mesh.call("capture.stop", stream="clocked")

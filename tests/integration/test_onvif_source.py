"""onvif:// through a running mesh: pictures, PTZ, events, and what goes wrong with cameras."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from schemas.events import Event
from schemas.subjects import event
from shared.bus import Bus, Message
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.metrics import total
from tests.support.onvif_device import PASSWORD, Camera, OnvifDevice, discoverable, onvif_device, probe_match
from tests.support.peers import wait_until
from tests.support.rtsp_server import RtspServer, rtsp_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

LIVE_SECONDS = 8.0
# An event goes camera -> capture -> bus; with an honest margin for machines that are busy with other tests.
EVENT_SECONDS = 1.0
UUID = "urn:uuid:4d454930-0000-1000-8000-001122334455"
MOTION = "tns1:RuleEngine/CellMotionDetector/Motion"


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    quick_and_alone = {
        "FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": "2",
        "FRAMEMESH_CAPTURE_ONVIF_INTERFACES": "lo",
        "FRAMEMESH_CAPTURE_GENICAM_INTERFACES": "lo",
    }
    with RunningMesh(environment=quick_and_alone) as running:
        yield running


@contextmanager
def camera_with_pictures(camera: Camera) -> Iterator[tuple[OnvifDevice, RtspServer]]:
    with rtsp_server(live=True) as pictures, onvif_device(camera) as device:
        camera.stream_uri = f"rtsp://10.99.99.99:{pictures.port}/{{token}}?unicast=true"
        yield device, pictures


def live(mesh: RunningMesh, stream: str) -> bool:
    return total(mesh.ready["metrics"]["capture"], "framemesh_capture_live", stream=stream) == 1


def refused(mesh: RunningMesh, subject: str, **request: object) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        mesh.call(subject, **request)
    assert PASSWORD not in f"{caught.value} {caught.value.reply}"
    return caught.value


def test_a_camera_from_its_pictures_to_its_motion(mesh: RunningMesh) -> None:
    camera = Camera(login="digest", clock_offset=timedelta(hours=1))
    with camera_with_pictures(camera) as (device, pictures):
        mesh.call("capture.start", stream="cam0", source=device.url("sub"))
        mesh.wait_for(lambda: live(mesh, "cam0"), LIVE_SECONDS, "cam0 is live")
        actual = mesh.actual("streams", "cam0")
        assert (actual["video"]["width"], actual["video"]["height"]) == (384, 64)
        assert actual["source"] == device.url("sub", userinfo="admin:***")
        assert any("/tok_sub?unicast=true" in line for line in pictures.lines)

        status = mesh.call("capture.cam0.ptz", action="status")
        assert status["presets"] == ["door", "gate"]
        assert (status["pan"], status["tilt"], status.get("zoom")) == (0.25, -0.5, None)
        assert mesh.call("capture.cam0.ptz", action="move", pan=0.5, duration="200ms")["moving"] is True
        mesh.wait_for(lambda: [what for _, what, _ in camera.moves] == ["ContinuousMove", "Stop"], what="it stops")
        problem = refused(mesh, "capture.cam0.ptz", action="preset", preset="window")
        assert (problem.code, "use one of door, gate" in problem.message) == (400, True)
        problem = refused(mesh, "capture.cam0.ptz", action="move", pan=1, duration="1h")
        assert (problem.code, "duration '1h'" in problem.message) == (400, True)

        said, seconds = asyncio.run(_motion(mesh, camera))
        print(f"\nmotion is on the bus after {seconds * 1e3:.0f} ms")
        assert seconds < EVENT_SECONDS
        assert (said.detail["topic"], said.detail["source"], said.detail["data"]) == (
            MOTION, {"VideoSource": "1"}, {"IsMotion": "true"},
        )  # fmt: skip
        for _ in range(60):
            camera.happened.put((MOTION, {}, {}))
        dropped = "framemesh_capture_dropped_events_total"
        mesh.wait_for(
            lambda: total(mesh.ready["metrics"]["capture"], dropped, stream="cam0") > 0, what="a counted drop"
        )
        assert live(mesh, "cam0")  # none of it has disturbed the pictures
        mesh.call("capture.stop", stream="cam0")
        mesh.wait_for(lambda: camera.unsubscribed == 1, what="the subscription is given back")


async def _motion(mesh: RunningMesh, camera: Camera) -> tuple[Event, float]:
    import msgspec

    bus = await Bus.connect(mesh.ready["nats"], name="test", timeout_seconds=5)
    come: asyncio.Queue[Event] = asyncio.Queue()

    def receive(message: Message) -> None:
        come.put_nowait(msgspec.json.decode(message.data, type=Event))

    subscription = await bus.subscribe(event("capture", "cam0", "onvif"), receive)
    await bus.flush()
    began = time.monotonic()
    camera.happened.put((MOTION, {"VideoSource": "1"}, {"IsMotion": "true"}))
    async with asyncio.timeout(10):
        said = await come.get()
    seconds = time.monotonic() - began
    await subscription.close()
    await bus.drain()
    return said, seconds


def test_a_move_ends_with_its_stream(mesh: RunningMesh) -> None:
    camera = Camera()
    with camera_with_pictures(camera) as (device, _):
        mesh.call("capture.start", stream="turning", source=device.url())
        mesh.wait_for(lambda: live(mesh, "turning"), LIVE_SECONDS, "live")
        mesh.call("capture.turning.ptz", action="move", pan=1, duration="30s")
        mesh.call("capture.stop", stream="turning")
        wait_until(lambda: camera.moves[-1][1] == "Stop", 5, "the camera is told to stop")


def test_a_camera_without_ptz_and_events(mesh: RunningMesh) -> None:
    with camera_with_pictures(Camera(ptz=False, events=False)) as (device, _):
        mesh.call("capture.start", stream="fixed", source=device.url())
        mesh.wait_for(lambda: live(mesh, "fixed"), LIVE_SECONDS, "live")
        problem = refused(mesh, "capture.fixed.ptz", action="home")
        assert (problem.code, problem.message) == (409, "fixed: this camera has no PTZ")
        mesh.call("capture.stop", stream="fixed")
    assert mesh.log.read_text().count("the camera has no events") == 1


def test_a_source_that_is_no_camera_has_no_ptz(mesh: RunningMesh) -> None:
    mesh.call("capture.start", stream="drawn", source="test://?size=640x360&fps=5")
    problem = refused(mesh, "capture.drawn.ptz", action="home")
    assert (problem.code, "not a camera that moves" in problem.message) == (409, True)
    mesh.call("capture.stop", stream="drawn")


def test_wrong_password_and_profile(mesh: RunningMesh) -> None:
    with camera_with_pictures(Camera()) as (device, _):
        problem = refused(mesh, "capture.start", stream="bad", source=device.url(userinfo="admin:guess-77"), wait_s=4)
        assert problem.code == 503
        assert "check user name and password" in problem.message
        mesh.call("capture.stop", stream="bad")
        problem = refused(mesh, "capture.start", stream="bad", source=device.url("4k"), wait_s=4)
        assert (problem.code, "no such profile; use one of sound only, Main stream, sub" in problem.message) == (
            400,
            True,
        )
        mesh.call("capture.stop", stream="bad")
    everything = mesh.log.read_text() + json.dumps(mesh.call("capture.list"))
    assert "guess-77" not in everything
    assert PASSWORD not in everything
    problem = refused(mesh, "capture.start", stream="bad", source="onvif://u:p@169.254.169.254/")
    assert (problem.code, "may not be reached" in problem.message) == (400, True)


def test_a_camera_that_restarts(mesh: RunningMesh) -> None:
    """Its RTSP URL has changed meanwhile, as some do at every start."""
    camera = Camera()
    with onvif_device(camera) as device:
        with rtsp_server(live=True) as first:
            camera.stream_uri = f"rtsp://127.0.0.1:{first.port}/a"
            mesh.call("capture.start", stream="moody", source=device.url())
            mesh.wait_for(lambda: live(mesh, "moody"), LIVE_SECONDS, "live")
        with rtsp_server(live=True) as second:
            camera.stream_uri = f"rtsp://127.0.0.1:{second.port}/b"
            mesh.wait_for(lambda: any("/b" in line for line in second.lines), 15, "it is asked for again")
            mesh.wait_for(lambda: live(mesh, "moody"), LIVE_SECONDS, "live again")
            mesh.call("capture.stop", stream="moody")


def test_a_camera_that_announces_itself(mesh: RunningMesh) -> None:
    def onvif_cameras(**request: object) -> list[dict[str, object]]:
        return [one for one in mesh.call("capture.test.devices", **request)["devices"] if one["kind"] == "onvif"]

    with discoverable(lambda asked: probe_match(asked, UUID, 8000, "onvif://www.onvif.org/hardware/X1")) as heard:
        assert onvif_cameras(refresh=True) == []
        assert not heard
        (found,) = onvif_cameras(refresh=True, network=True)
    assert (found["location"], found["model"], found["present"]) == (UUID, "X1", True)
    assert found["source"] == f"onvif://{found['address']}:8000/"
    (lost,) = onvif_cameras(refresh=True, network=True)
    assert (lost["location_id"], lost["present"]) == (found["location_id"], False)


def test_a_camera_that_does_not_answer_holds_nothing_up(mesh: RunningMesh) -> None:
    with camera_with_pictures(Camera(drip_seconds=0.2)) as (device, _):
        mesh.call("capture.start", stream="slow", source=device.url(), wait_s=0)
        wait_until(lambda: bool(device.camera.calls), LIVE_SECONDS, "it is asked")
        began = time.monotonic()
        mesh.call("capture.stop", stream="slow")
        # It would be asked for 5 s. The command line takes about a second to start here.
        assert time.monotonic() - began < 4.0


def test_capture_is_killed_while_the_camera_moves(mesh: RunningMesh) -> None:
    camera = Camera()
    with camera_with_pictures(camera) as (device, _):
        mesh.call("capture.start", stream="left", source=device.url())
        mesh.wait_for(lambda: live(mesh, "left"), LIVE_SECONDS, "live")
        mesh.call("capture.left.ptz", action="move", pan=1, duration="3s")
        assert camera.moving
        mesh.kill("capture")
        mesh.wait_for(lambda: not camera.moving, 5, "the camera stops by itself")
        assert [action for _, action, _ in camera.moves] == ["ContinuousMove"]
        mesh.wait_for(lambda: camera.calls.count("GetStreamUri") == 2, 20, "the stream comes back")

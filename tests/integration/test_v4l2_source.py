"""V4L2 cameras through a running mesh, to the pixel and to the microsecond.

The cameras are a fake kernel boundary: `tests/support/fake_v4l2.c`, preloaded into the services, answers the system
calls on /dev/video10 and so on as drivers do. All above it is what runs in front of a real camera.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shared.clients.frame import Frame
from shared.clients.mesh import BadRequest, Mesh, NotFound, Unavailable
from tests.support.client import client
from tests.support.mesh import RunningMesh
from tests.support.v4l2 import (
    DEFAULTS,
    EXPOSURE_ABSOLUTE_ID,
    SENSOR_LOCATION,
    WEBCAM_LOCATION,
    FakeCameras,
    gradient,
    gradient_rgb,
    needs_gcc,
    pattern,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90), needs_gcc]

READ_TIMEOUT_SECONDS = 1.5
SECONDS = 10.0
SENSOR = {"stream": "cam", "source": "v4l2:///dev/video12"}
WEBCAM = {"stream": "cam", "source": "v4l2:///dev/video10", "size": "640x480"}


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCameras]:
    fake = FakeCameras(tmp_path_factory.mktemp("v4l2"))
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def mesh(cameras: FakeCameras) -> Iterator[RunningMesh]:
    quick = {"FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT_SECONDS)}
    with RunningMesh(environment=cameras.environment | quick) as running:
        yield running


@pytest.fixture
def app(mesh: RunningMesh, cameras: FakeCameras) -> Iterator[Mesh]:
    """A client; at its end the stream is stopped, and the cameras are as they were."""
    with client(mesh) as connected:
        yield connected
        for stream in connected.streams():
            connected.stop_stream(stream.spec.stream)
        until(lambda: not cameras.webcam.opens and not cameras.sensor.opens, "the cameras are let go of")
    for camera in (cameras.webcam, cameras.sensor):
        for name in ("busy", "denied", "silent", "no_stamps", "mplane", "damage", "skip", "cut", "refused_control"):
            setattr(camera, name, 0)
        camera.values[:] = DEFAULTS
    cameras.plug(cameras.webcam, 10, 11)


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Poll what tells nobody of its changes."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return value


def actual(app: Mesh) -> Any:
    return app.streams()[0].actual


def wait_for_state(app: Mesh, state: str) -> Any:
    return until(lambda: (now := actual(app)) and now.state == state and now, f"the stream is {state}")


def take(app: Mesh, count: int) -> Iterator[Frame]:
    with app.frames("cam", timeout_seconds=SECONDS) as frames:
        for _ in range(count):
            yield next(frames)


# -- pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "pixel_format", "mask"),
    [
        ({}, "gray", 255),
        ({"bit_depth": 10}, "gray10le", 1023),
        ({"pixel_format": "gray12le"}, "gray12le", 4095),
        ({"pixel_format": "bayer_rggb8"}, "bayer_rggb8", 255),
    ],
)
def test_a_sensors_pictures_to_the_pixel(
    app: Mesh, cameras: FakeCameras, asked: dict[str, Any], pixel_format: str, mask: int
) -> None:
    app.call("capture.start", **SENSOR, **asked)
    found = []
    for frame in take(app, 5):
        sequence = cameras.sequence_at(cameras.sensor, frame.ref.monotonic_ns)
        assert (frame.ref.pixel_format, frame.ref.width, frame.ref.height) == (pixel_format, 648, 486)
        np.testing.assert_array_equal(frame.array, pattern(648, 486, sequence, mask))
        found.append(sequence)
    assert len(set(found)) == len(found)


def test_the_multi_planar_interface(app: Mesh, cameras: FakeCameras) -> None:
    """What many drivers of boards have, also for pictures of one plane."""
    cameras.sensor.mplane = 1
    app.call("capture.start", **SENSOR, bit_depth=10)
    for frame in take(app, 3):
        sequence = cameras.sequence_at(cameras.sensor, frame.ref.monotonic_ns)
        np.testing.assert_array_equal(frame.array, pattern(648, 486, sequence, 1023))


def test_times_are_the_drivers(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **SENSOR)
    wall_offset_ns = time.time_ns() - time.monotonic_ns()
    late_ns, pts, stamps = [], [], []
    for frame in take(app, 30):
        sequence = cameras.sequence_at(cameras.sensor, frame.ref.monotonic_ns)
        stamp_ns = int(cameras.sensor.stamps_us[sequence]) * 1000
        assert frame.ref.clock == "driver"
        late_ns.append(abs(frame.ref.captured_ns - wall_offset_ns - stamp_ns))
        pts.append(frame.ref.pts_ns)
        stamps.append(stamp_ns)
    assert np.median(late_ns) < 200_000  # two clocks are read, at different moments
    np.testing.assert_array_equal(np.diff(pts), np.diff(stamps))


def test_a_driver_without_times(app: Mesh, cameras: FakeCameras) -> None:
    cameras.sensor.no_stamps = 1
    app.call("capture.start", **SENSOR)
    frame = next(take(app, 1))
    assert frame.ref.clock == "arrival"
    assert abs(time.time_ns() - frame.ref.captured_ns) < 5_000_000_000


def test_a_webcams_raw_pictures(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **WEBCAM)
    video = wait_for_state(app, "live").video
    assert (video.codec, video.width, video.height, video.fps) == ("raw", 640, 480, 30)
    for frame in take(app, 3):
        sequence = cameras.sequence_at(cameras.webcam, frame.ref.monotonic_ns)
        assert frame.ref.pixel_format == "yuv420p"
        np.testing.assert_array_equal(frame.array[:480], 16 + pattern(640, 480, sequence) % 220)
        chroma = frame.array[480:].reshape(2, 240, 320)
        # libav's own rounding of 4:2:2 to 4:2:0
        assert np.abs(chroma[0].astype(int) - (64 + (sequence & 127))).max() <= 1
        assert np.abs(chroma[1].astype(int) - 128).max() <= 1


def test_mjpg_is_decoded_while_somebody_looks(app: Mesh, cameras: FakeCameras) -> None:
    cameras.set_jpeg(gradient(1280, 720))
    app.call("capture.start", **WEBCAM | {"size": "1280x720"})
    state = wait_for_state(app, "live")
    assert (state.video.codec, state.decoding, state.source_tracks) == ("mjpeg", False, ())
    until(lambda: cameras.webcam.sequence > 15, "pictures that nobody wants")
    stats = app.call("capture.cam.stats")
    assert stats["frames"] == 0
    assert stats["fps"] > 10
    assert stats["bitrate"] > 8 * cameras.webcam.jpeg_bytes * 10
    for frame in take(app, 3):
        assert frame.ref.clock == "driver"
        error = np.abs(frame.bgr()[..., ::-1].astype(int) - gradient_rgb(1280, 720))
        assert error.mean() < 4  # what JPEG and 4:2:0 cost
    until(lambda: actual(app).decoding is False, "decoding ends with the last viewer", 10)


def test_a_picture_that_stands_still_is_seen_while_nobody_looks(app: Mesh, cameras: FakeCameras) -> None:
    cameras.set_jpeg(gradient(1280, 720))
    app.call("capture.start", **WEBCAM | {"size": "1280x720"}, frozen_after="1s")
    wait_for_state(app, "frozen")
    assert app.call("capture.cam.stats")["frames"] == 0
    cameras.set_jpeg(gradient(1280, 720, mirrored=True))
    wait_for_state(app, "live")


def test_best_size_when_none_is_asked(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", stream="cam", source=f"v4l2://{WEBCAM_LOCATION}")
    video = wait_for_state(app, "live").video
    assert (video.codec, video.width, video.height, video.fps) == ("mjpeg", 1920, 1080, 30)


def test_crop_and_size_are_made_of_a_larger_picture(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **SENSOR, crop="320x240+100+50", size="160x120", pixel_format="gray")
    frame = next(take(app, 1))
    assert (frame.ref.width, frame.ref.height) == (160, 120)
    opened = cameras.sensor.streamons
    app.call("capture.start", **SENSOR, crop="320x240+100+50")
    frame = until(lambda: (new := next(take(app, 1))).ref.width == 320 and new, "the change is taken on")
    sequence = cameras.sequence_at(cameras.sensor, frame.ref.monotonic_ns)
    np.testing.assert_array_equal(frame.array, pattern(648, 486, sequence)[50:290, 100:420])
    assert cameras.sensor.streamons == opened, "the camera went on meanwhile"


def test_a_rate_that_the_camera_keeps_loses_no_picture(app: Mesh, cameras: FakeCameras) -> None:
    """Asked for 29.8, the camera sends its 30: what is above stays."""
    app.call("capture.start", **WEBCAM, fps=29.8)
    sequences = [frame.ref.sequence for frame in take(app, 120)]
    assert app.call("capture.cam.stats")["dropped"].get("fps-limit", 0) == 0
    assert len(sequences) == 120


def test_what_is_damaged_or_missing_is_counted(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **SENSOR)
    list(take(app, 2))
    cameras.sensor.damage = 3
    until(lambda: not cameras.sensor.damage, "damaged pictures")
    cameras.sensor.cut = 2
    until(lambda: not cameras.sensor.cut, "cut pictures")
    cameras.sensor.skip = 4
    until(lambda: not cameras.sensor.skip, "missing pictures")
    list(take(app, 3))
    dropped = app.call("capture.cam.stats")["dropped"]
    assert dropped["damaged"] == 5
    assert dropped["driver"] >= 4  # more where this machine was slow
    assert actual(app).restarts == 0


def test_a_jpeg_that_was_cut_off(app: Mesh, cameras: FakeCameras) -> None:
    cameras.set_jpeg(gradient(1280, 720))
    app.call("capture.start", **WEBCAM | {"size": "1280x720"})
    list(take(app, 2))
    cameras.webcam.cut = 3
    for frame in take(app, 8):  # libav would show its lower half grey
        assert np.abs(frame.bgr()[500:, ..., ::-1].astype(int) - gradient_rgb(1280, 720)[500:]).mean() < 4
    assert not cameras.webcam.cut
    assert app.call("capture.cam.stats")["dropped"]["damaged"] == 3


# -- controls ------------------------------------------------------------------------------------------------


def test_controls_at_the_start_and_while_it_runs(app: Mesh, cameras: FakeCameras) -> None:
    manual = {"auto_exposure": "Manual Mode", "exposure_time_absolute": 101}
    app.call("capture.start", **WEBCAM, controls={**manual, "brightness": 5, "do_white_balance": True})
    before = wait_for_state(app, "live")
    assert cameras.controls() == {
        "brightness": 5, "white_balance_automatic": 1, "do_white_balance": 1, "auto_exposure": 1,
        "exposure_time_absolute": 101, "privacy": 0,
    }  # fmt: skip
    assert next(take(app, 1)).ref.exposure_ns == 10_100_000
    opened = cameras.webcam.streamons

    app.call("capture.start", **WEBCAM, controls={**manual, "exposure_time_absolute": 55, "do_white_balance": True})
    assert cameras.controls()["exposure_time_absolute"] == 55
    assert cameras.controls()["brightness"] == 0, "what is named no more has its default"
    assert cameras.controls()["do_white_balance"] == 1, "pressed once"
    until(lambda: next(take(app, 1)).ref.exposure_ns == 5_500_000, "the new exposure")

    app.call("capture.start", **WEBCAM)
    assert cameras.controls()["auto_exposure"] == 3
    assert cameras.controls()["exposure_time_absolute"] == 251
    after = wait_for_state(app, "live")
    assert (after.epoch, after.restarts, cameras.webcam.streamons) == (before.epoch, 0, opened), "nothing was opened"


def test_what_is_named_no_more_has_its_default_also_when_the_camera_is_opened_again(
    app: Mesh, cameras: FakeCameras
) -> None:
    manual = {"auto_exposure": "Manual Mode", "exposure_time_absolute": 101}
    app.call("capture.start", **WEBCAM, controls={**manual, "brightness": 5})
    wait_for_state(app, "live")
    app.call("capture.cam.configure", profile={"size": "1280x720", "controls": {"brightness": 7}})
    assert wait_for_state(app, "live").video.width == 1280
    assert cameras.controls()["brightness"] == 7
    assert cameras.controls()["auto_exposure"] == 3
    assert cameras.controls()["exposure_time_absolute"] == 251


def test_when_one_is_refused_all_are_as_before(app: Mesh, cameras: FakeCameras) -> None:
    start = {"auto_exposure": "Manual Mode", "exposure_time_absolute": 101}
    app.call("capture.start", **WEBCAM, controls=start)
    before = wait_for_state(app, "live")
    cameras.webcam.refused_control = EXPOSURE_ABSOLUTE_ID
    with pytest.raises(BadRequest, match=r"controls\.exposure_time_absolute 103: the camera refuses it"):
        app.call("capture.start", **WEBCAM, controls={"brightness": 9, **start, "exposure_time_absolute": 103})
    assert cameras.controls()["brightness"] == 0
    assert cameras.controls()["exposure_time_absolute"] == 101
    assert actual(app).state == "live"
    assert actual(app).epoch == before.epoch
    # In the wrong order, the automatic is still in charge of the time.
    cameras.webcam.refused_control = 0
    with pytest.raises(BadRequest, match="first switch off the automatic"):
        app.call("capture.start", **WEBCAM, controls={"auto_exposure": 3, "exposure_time_absolute": 103})
    assert cameras.controls()["auto_exposure"] == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"size": "1000x1000"}, "size '1000x1000': the camera has 640x480, 1280x720, 1920x1080"),
        ({"fps": 25}, "fps '25': the camera has 30, 15 at 640x480"),
        ({"bit_depth": 12}, "bit_depth 12: the camera has 8"),
        ({"binning": "2x2"}, "binning '2x2': v4l2:// cameras have none"),
        ({"trigger": "Line1"}, "trigger 'Line1': v4l2:// cameras have none"),
        ({"pixel_format": "bayer_rggb8"}, "pixel_format 'bayer_rggb8': the camera sends"),
        ({"crop": "1000x1000+1000+1000"}, "crop '1000x1000+1000+1000': the camera has 640x480"),
        ({"source": "v4l2:///dev/video11"}, "this node sends no pictures"),
        ({"controls": {"sharpness": 1}}, "controls.sharpness 1: there is no such control; there are brightness, white"),
        ({"controls": {"brightness": 65}}, "controls.brightness 65: use -64 to 64, step 1"),
        ({"controls": {"brightness": "x"}}, "controls.brightness 'x': use -64 to 64, step 1"),
        ({"controls": {"brightness": True}}, "controls.brightness True: use -64 to 64, step 1"),
        ({"controls": {"brightness": 0.5}}, "controls.brightness 0.5: use -64 to 64, step 1"),
        ({"controls": {"exposure_time_absolute": 4}}, "controls.exposure_time_absolute 4: use 3 to 2047, step 2"),
        ({"controls": {"auto_exposure": "Fast"}}, "use one of Manual Mode, Aperture Priority Mode"),
        ({"controls": {"auto_exposure": 2}}, "use one of Manual Mode, Aperture Priority Mode"),
        ({"controls": {"privacy": True}}, "controls.privacy True: it can only be read"),
        ({"controls": {"white_balance_automatic": 2}}, "use true or false"),
        ({"controls": {"do_white_balance": "now"}}, "use true to press it"),
    ],
    ids=str,
)
def test_what_the_camera_cannot_do(app: Mesh, cameras: FakeCameras, change: dict[str, Any], text: str) -> None:
    """Refused at once, and nothing at the camera is changed, though something good stands before the bad."""
    before = (cameras.webcam.set_count, cameras.webcam.streamons, cameras.webcam.width)
    good = {"controls": {"white_balance_automatic": False, **change["controls"]}} if "controls" in change else change
    with pytest.raises(BadRequest) as caught:
        app.call("capture.start", **WEBCAM | good)
    assert text in str(caught.value)
    assert app.streams() == []
    assert (cameras.webcam.set_count, cameras.webcam.streamons, cameras.webcam.width) == before


def test_a_profile_that_does_not_fit(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **WEBCAM)
    before = wait_for_state(app, "live")
    count = cameras.webcam.set_count
    with pytest.raises(BadRequest, match=r"controls\.brightness 99: use -64 to 64, step 1"):
        app.call("capture.cam.configure", profile={"size": "640x480", "controls": {"brightness": 99}})
    after = actual(app)
    assert (after.state, after.epoch, after.restarts, after.revision) == ("live", before.epoch, 0, before.revision)
    assert cameras.webcam.set_count == count
    app.call("capture.cam.configure", profile={"size": "640x480", "controls": {"brightness": 9}})
    assert cameras.controls()["brightness"] == 9
    assert actual(app).epoch == before.epoch


# -- life ----------------------------------------------------------------------------------------------------


def test_unplugged_and_back_under_another_number(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **WEBCAM | {"source": f"v4l2://{WEBCAM_LOCATION}"})
    epoch = wait_for_state(app, "live").epoch
    list(take(app, 2))
    cameras.unplug(cameras.webcam)
    lost = wait_for_state(app, "reconnecting")
    assert lost.error.code == 503
    assert "plugged" in lost.error.message  # "unplugged", or, when it was looked for again already, "not plugged in"
    until(lambda: "no camera is there" in (actual(app).error.message if actual(app).error else ""), "looked for again")
    assert SENSOR_LOCATION in actual(app).error.message
    assert not cameras.webcam.opens, "nothing is held of what is gone"
    cameras.plug(cameras.webcam, 30, 31)
    back = wait_for_state(app, "live")
    assert (back.epoch, back.error) == (epoch, None)
    assert next(take(app, 1)).ref.epoch == epoch


def test_unplugged_while_named_by_its_node(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **WEBCAM)
    wait_for_state(app, "live")
    cameras.unplug(cameras.webcam)
    wait_for_state(app, "reconnecting")
    cameras.plug(cameras.webcam, 10, 11)
    wait_for_state(app, "live")


def test_a_driver_that_sends_nothing(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **SENSOR)
    wait_for_state(app, "live")
    cameras.sensor.silent = 1
    lost = wait_for_state(app, "reconnecting")
    assert (lost.error.code, "no picture for 1.5 s" in lost.error.message) == (503, True)
    cameras.sensor.silent = 0
    wait_for_state(app, "live")


@pytest.mark.parametrize(("fault", "words"), [("busy", "in use by another program"), ("denied", "group video")])
def test_a_camera_that_cannot_be_opened_now(app: Mesh, cameras: FakeCameras, fault: str, words: str) -> None:
    setattr(cameras.webcam, fault, 1)
    with pytest.raises(Unavailable, match=words):
        app.call("capture.start", **WEBCAM)
    setattr(cameras.webcam, fault, 0)
    wait_for_state(app, "live")


def test_no_camera_there(app: Mesh) -> None:
    with pytest.raises(NotFound, match=r"video77.*plugged in"):
        app.call("capture.start", stream="cam", source="v4l2:///dev/video77")
    app.stop_stream("cam")
    with pytest.raises(NotFound, match=f"no camera is there; there are at: {WEBCAM_LOCATION}, {SENSOR_LOCATION}"):
        app.call("capture.start", stream="cam", source="v4l2://usb-9")


def test_stopped_at_once(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", **SENSOR)
    wait_for_state(app, "live")
    cameras.sensor.silent = 1
    began = time.monotonic()
    app.stop_stream("cam")
    until(lambda: not cameras.sensor.opens, "let go of")
    assert time.monotonic() - began < 1.3  # a tenth of a second, and a loaded machine


# -- devices -------------------------------------------------------------------------------------------------


def camera_at(app: Mesh, location: str) -> dict[str, Any]:
    found = app.call("capture.test.devices", refresh=True)["devices"]
    return next(device for device in found if device["location"] == location)


def test_devices(app: Mesh, cameras: FakeCameras) -> None:
    app.call("capture.start", stream="cam", source=f"v4l2://{WEBCAM_LOCATION}", size="640x480")
    wait_for_state(app, "live")
    count = cameras.webcam.set_count
    webcam = camera_at(app, WEBCAM_LOCATION)
    assert (webcam["address"], webcam["source"]) == ("/dev/video10", f"v4l2://{WEBCAM_LOCATION}")
    assert (webcam["model"], webcam["vendor"], webcam["serial"]) == ("Web?Camera", "Makers", "SN 42")
    assert webcam["stream"] == "cam"
    assert [one["pixel_format"] for one in webcam["formats"]] == ["MJPG", "YUYV"]
    assert webcam["formats"][0]["sizes"] == ["640x480", "1280x720", "1920x1080"]
    controls = {control["name"]: control for control in webcam["controls"]}
    assert controls["exposure_time_absolute"]["maximum"] == 2047
    assert controls["auto_exposure"]["options"] == ["Manual Mode", "Aperture Priority Mode"]
    assert controls["auto_exposure"]["value"] == "Aperture Priority Mode"
    assert controls["privacy"]["writable"] is False
    assert "some_matrix" not in controls
    cameras.sensor.denied = 1
    sensor = camera_at(app, SENSOR_LOCATION)
    assert sensor["model"] == "Bare Sensor"
    assert "group video" in sensor["error"]
    assert actual(app).state == "live"
    assert cameras.webcam.set_count == count

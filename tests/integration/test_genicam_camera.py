"""GigE Vision cameras on loopback and the real capture service: pictures, settings, triggers, loss, return.

Two cameras: `eye`, in Python, with every pixel format and chunk data; and aravis' own in software, whose programmers
are not ours.
"""

import base64
import io
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.clients.frame import Frame
from shared.clients.mesh import Mesh
from tests.support import gige_description as device
from tests.support.client import client
from tests.support.genicam import ENVIRONMENT, FakeCamera, missing
from tests.support.gige_camera import HEARTBEAT, GigeCamera, sample
from tests.support.mesh import CallFailed, RunningMesh

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(bool(missing()) and not os.environ.get("CI"), reason=missing()),
]

SECONDS = 10.0


@pytest.fixture(scope="module")
def eye() -> Iterator[GigeCamera]:
    with GigeCamera() as camera:
        yield camera


@pytest.fixture(scope="module")
def mesh(eye: GigeCamera) -> Iterator[RunningMesh]:
    with RunningMesh(environment=ENVIRONMENT) as mesh:
        yield mesh


@pytest.fixture
def app(mesh: RunningMesh, eye: GigeCamera) -> Iterator[Mesh]:
    """A client; at its end the streams are stopped and the cameras let go."""
    with client(mesh) as connected:
        yield connected
        for entry in connected.streams():
            connected.stop_stream(entry.spec.stream)
    mesh.wait_for(lambda: not eye.controlled, what="the camera is let go")


def start(mesh: RunningMesh, eye: GigeCamera, **spec: Any) -> Any:
    """By its address: a camera in Python on 127.0.0.2 hears no broadcast."""
    return mesh.call("capture.start", stream="eye", source=f"genicam://{eye.address}", **spec)["actual"]


def refused(mesh: RunningMesh, eye: GigeCamera, **spec: Any) -> str:
    with pytest.raises(CallFailed) as caught:
        start(mesh, eye, **spec)
    assert caught.value.code == 400, caught.value
    return str(caught.value).removeprefix("400: ")


def pictures(app: Mesh, count: int = 1) -> list[Frame]:
    """So many in a row; only the last one still has its picture."""
    frames = app.frames("eye", timeout_seconds=SECONDS)
    taken = []
    for frame in frames:
        taken.append(frame)
        if len(taken) == count:
            break
    frames.close()
    return taken


# -- pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "camera_format", "becomes", "bits", "shift"),
    [
        ({}, "Mono8", "gray", 8, 0),
        ({"pixel_format": "gray10le"}, "Mono10", "gray10le", 10, 0),
        ({"pixel_format": "gray12le"}, "Mono12", "gray12le", 12, 0),
        ({"controls": {"PixelFormat": "Mono10p"}}, "Mono10p", "gray10le", 10, 0),
        ({"controls": {"PixelFormat": "Mono10Packed"}}, "Mono10Packed", "gray10le", 10, 0),
        ({"controls": {"PixelFormat": "Mono12p"}}, "Mono12p", "gray12le", 12, 0),
        ({"controls": {"PixelFormat": "Mono12Packed"}}, "Mono12Packed", "gray12le", 12, 0),
        ({"bit_depth": 14}, "Mono14", "gray16le", 14, 2),
        ({"pixel_format": "bayer_rggb8"}, "BayerRG8", "bayer_rggb8", 8, 0),
        ({"pixel_format": "bayer_rggb16le"}, "BayerRG12", "bayer_rggb16le", 12, 4),
        ({"pixel_format": "bayer_gbrg16le", "bit_depth": 10}, "BayerGB10p", "bayer_gbrg16le", 10, 6),
    ],
)
def test_every_sample_arrives(
    mesh: RunningMesh, eye: GigeCamera, app: Mesh, spec: Any, camera_format: str, becomes: str, bits: int, shift: int
) -> None:
    start(mesh, eye, **spec)
    frame = pictures(app)[0]
    assert eye.register(device.PIXEL_FORMAT) == device.PIXEL_FORMATS[camera_format]
    assert frame.ref.pixel_format == becomes
    np.testing.assert_array_equal(frame.array, sample(bits, 64, 48) << shift)


def test_colours(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    grey = sample(8, 64, 48).astype(np.uint8)
    for pixel_format, first in (("rgb24", 0), ("bgr24", 2)):
        start(mesh, eye, pixel_format=pixel_format)
        frame = pictures(app)[0]
        assert frame.ref.pixel_format == pixel_format
        np.testing.assert_array_equal(frame.array[..., first], grey)
    start(mesh, eye, pixel_format="yuv420p", controls={"PixelFormat": "YUV422_8"})
    frame = pictures(app)[0]
    assert frame.ref.pixel_format == "yuv420p"
    np.testing.assert_array_equal(frame.array[:48], grey)


def test_what_the_camera_says_of_each_picture(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye, controls={"ExposureTime": 2500, "Gain": 6})
    first, *_, last = pictures(app, 5)
    assert first.ref.clock == "driver"
    assert first.ref.exposure_ns == 2_500_000
    assert first.ref.metadata["ChunkGain"] == 6.0
    assert first.ref.metadata["ChunkLineStatusAll"] == 5
    frames_between = last.ref.metadata["ChunkFrameID"] - first.ref.metadata["ChunkFrameID"]  # type: ignore[operator]
    assert frames_between >= 4
    # The camera's clock began with the camera; on ours the pictures were taken just now.
    assert 0 <= time.time_ns() - last.ref.captured_ns < 5_000_000_000
    taken_ns = last.ref.captured_ns - first.ref.captured_ns
    assert taken_ns == pytest.approx(frames_between * 50_000_000, rel=0.5)


def test_a_picture_with_lost_packets_is_never_shown(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye)
    pictures(app)
    eye.lose_packet = 1
    try:
        mesh.wait_for(lambda: mesh.call("capture.eye.stats")["dropped"].get("damaged", 0) >= 3, what="damaged ones")
        before = mesh.call("capture.eye.stats")["frames"]
        time.sleep(0.5)
        assert mesh.call("capture.eye.stats")["frames"] == before
    finally:
        eye.lose_packet = None
    assert mesh.call("capture.eye.stats")["dropped"].get("driver", 0) == 0
    eye.skip_frames = 7
    mesh.wait_for(lambda: mesh.call("capture.eye.stats")["dropped"].get("driver") == 7, what="the gap is counted")
    np.testing.assert_array_equal(pictures(app, 3)[-1].array, sample(8, 64, 48))


def test_nobody_looks(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye)
    mesh.wait_for(lambda: mesh.call("capture.eye.stats")["fps"] > 10, what="pictures come")
    stats = mesh.call("capture.eye.stats")
    assert (stats["frames"], stats["dropped"]) == (0, {})
    assert mesh.actual("streams", "eye")["decoding"] is False


@pytest.mark.parametrize("camera_format", ["Mono8", "Mono12Packed", "BayerRG12", "RGB8", "YUV422_8"])
def test_a_picture_that_stands_still_is_seen_while_nobody_looks(
    mesh: RunningMesh, eye: GigeCamera, app: Mesh, camera_format: str
) -> None:
    start(mesh, eye, controls={"PixelFormat": camera_format}, frozen_after="1s")
    mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "frozen", 10, "it is frozen")
    assert mesh.call("capture.eye.stats")["frames"] == 0
    eye.inverted = not eye.inverted
    try:
        mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "live", 10, "the picture moves again")
    finally:
        eye.inverted = False


# -- settings ------------------------------------------------------------------------------------------------


def region(eye: GigeCamera) -> list[int]:
    return [int(eye.register(at)) for at in (device.WIDTH, device.HEIGHT, device.OFFSET_X, device.OFFSET_Y)]


def test_size_is_taken_from_the_middle_and_put_back(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye, size="640x480", fps=50, pixel_format="gray12le")
    assert region(eye) == [640, 480, 320, 240]
    assert eye.register(device.RATE) == 50
    start(mesh, eye)  # what a spec does not name gets what it was
    assert region(eye) == [64, 48, 0, 0]
    assert eye.register(device.RATE) == 20
    assert eye.register(device.PIXEL_FORMAT) == device.PIXEL_FORMATS["Mono8"]


def test_binning_goes_before_size(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye, binning="2x2", size="640x480")
    assert [eye.register(at) for at in (device.BINNING_X, device.BINNING_Y)] == [2, 2]
    assert region(eye) == [640, 480, 0, 0]
    assert refused(mesh, eye, binning="8x8") == "binning '8x8': BinningHorizontal: use 1 to 4"


def test_the_device_crops_unless_there_are_masks(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye, crop="128x64+32+16", pixel_format="gray")
    assert region(eye) == [128, 64, 32, 16]
    assert pictures(app)[0].array.shape == (64, 128)
    # A mask's place is told of the whole picture.
    mask = {"x": 0, "y": 0, "width": 0.5, "height": 0.5}
    start(mesh, eye, crop="32x16+16+8", masks=[mask], pixel_format="gray")
    assert region(eye) == [64, 48, 0, 0]
    picture = pictures(app)[0].array
    assert picture.shape == (16, 32)
    assert picture[0, 0] in (0, 16)
    assert (picture[:, 16:] == sample(8, 64, 48)[8:24, 32:48]).all()


def test_what_the_device_crops_is_still_limited(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    """The trigger makes the camera's rate, so `fps` is the sink's to keep."""
    start(mesh, eye, trigger="Line1", crop="128x64+32+16", fps=0.5, pixel_format="gray")
    done = threading.Event()

    def work_piece_after_work_piece() -> None:
        while not done.wait(0.1):
            eye.pull_line()

    line = threading.Thread(target=work_piece_after_work_piece)
    line.start()
    try:
        assert [frame.array.shape for frame in pictures(app, 2)[1:]] == [(64, 128)]
        assert mesh.call("capture.eye.stats")["dropped"]["fps-limit"] >= 5
    finally:
        done.set()
        line.join()


def test_exposure_changes_while_it_runs(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye, controls={"ExposureTime": 5000})
    epoch = pictures(app)[0].ref.epoch
    sent = eye.frames_sent
    start(mesh, eye, controls={"ExposureTime": 123, "Gain": 3}, fps=40)
    assert eye.register(device.EXPOSURE) == 123
    assert eye.register(device.RATE) == 40
    ref = pictures(app)[0].ref
    assert (ref.epoch, ref.exposure_ns, ref.metadata["ChunkGain"]) == (epoch, 123_000, 3.0)
    assert eye.frames_sent > sent
    start(mesh, eye, controls={"Gain": 3}, fps=40)  # no longer named: as it was
    assert eye.register(device.EXPOSURE) == 10_000
    assert pictures(app)[0].ref.epoch == epoch


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"controls": {"ExposureTime": -5}}, "controls.ExposureTime -5: use 10 to 10000000 us"),
        ({"controls": {"ExposreTime": 5}}, "controls.ExposreTime 5: this camera has ExposureTime"),
        ({"controls": {"Gain": "high"}}, "controls.Gain 'high': use 0 to 24 dB"),
        ({"controls": {"ExposureAuto": "Sometimes"}}, "controls.ExposureAuto 'Sometimes': use one of Off, Continuous"),
        ({"controls": {"ReverseX": 1}}, "controls.ReverseX 1: use true or false"),
        ({"controls": {"Zzz": 1}}, "controls.Zzz 1: this camera has nothing like it; leave it out"),
        ({"pixel_format": "bayer_bggr8"}, "pixel_format 'bayer_bggr8': this camera has Mono8 (gray), "),
        ({"bit_depth": 16}, "bit_depth 16: this camera has "),
        ({"size": "100x48"}, "size '100x48': Width: use 16 to 1280 in steps of 16"),
        ({"size": "2560x48"}, "size '2560x48': Width: use 16 to 1280 in steps of 16"),
        ({"fps": 240}, "fps 240.0: use 1 to 200 Hz"),
        ({"trigger": "Line7"}, "trigger 'Line7': this camera has Line1, Line2, software"),
    ],
)
def test_bad_values_are_refused_before_the_camera_is_touched(
    mesh: RunningMesh, eye: GigeCamera, app: Mesh, spec: Any, text: str
) -> None:
    start(mesh, eye, controls={"ExposureTime": 777})
    sent = eye.frames_sent
    assert refused(mesh, eye, **spec).startswith(text)
    assert eye.register(device.EXPOSURE) == 777
    mesh.wait_for(lambda: eye.frames_sent > sent + 3, what="pictures go on")


def test_what_was_set_before_one_fails_is_put_back(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    """Nothing judges before: the values reach the running camera one by one."""
    start(mesh, eye, controls={"ExposureTime": 777})
    profile = {"controls": {"ExposureTime": 888, "Gain": 99}}
    with pytest.raises(CallFailed, match=r"controls\.Gain 99: use 0 to 24 dB"):
        mesh.call("capture.eye.configure", profile=profile, validate=False)
    mesh.wait_for(lambda: eye.register(device.EXPOSURE) == 777, what="the exposure of before")
    assert pictures(app)[0].ref.exposure_ns == 777_000


# -- triggers ------------------------------------------------------------------------------------------------


def test_a_software_trigger(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye, trigger="software")
    assert [eye.register(at) for at in (device.TRIGGER_MODE, device.TRIGGER_SOURCE)] == [1, 2]
    sent = eye.frames_sent
    frames = app.frames("eye", timeout_seconds=SECONDS)
    mesh.wait_for(lambda: mesh.actual("streams", "eye")["waiting_for"], what="it waits for a trigger")
    # The client shows demand only once it iterates, so the first pictures may be looked at by nobody.
    for number in range(3):
        before_ns = time.time_ns()
        triggered_ns = mesh.call("capture.eye.trigger")["triggered_ns"]
        assert before_ns < triggered_ns < time.time_ns()
        mesh.wait_for(lambda number=number: eye.frames_sent == sent + number + 1, what="one picture for one trigger")
    frames.close()
    assert mesh.actual("streams", "eye")["state"] == "live"


def test_a_line_triggers(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye, trigger="Line1")
    sent = eye.frames_sent
    with pytest.raises(CallFailed, match="give the stream trigger: software first"):
        mesh.call("capture.eye.trigger")
    assert eye.frames_sent == sent
    eye.pull_line()
    mesh.wait_for(lambda: mesh.call("capture.eye.stats")["state"] == "live", what="the picture of the line")


# -- hostile cameras -----------------------------------------------------------------------------------------


def test_chunks_that_are_no_numbers(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye)
    try:
        eye.set_register(device.GAIN, float("nan"))
        eye.set_register(device.EXPOSURE, 1e30)
        ref = pictures(app)[0].ref
    finally:
        eye.set_register(device.GAIN, 0)
        eye.set_register(device.EXPOSURE, 10_000)
    assert ref.exposure_ns == 3_600_000_000_000
    assert "ChunkGain" not in ref.metadata


@pytest.mark.parametrize(
    ("hostile", "text"),
    [
        ({"place": "Local:eye.xml;10000;7fffffffffffff00"}, "a description of 9223372036854775552 bytes"),
        ({"place": "file:///dev/zero"}, "only one in the camera is read"),
        ({"description": device.description('<Integer Name="A"><pValue>A</pValue></Integer>')}, "A is made of itself"),
        ({"description": b"\xff<<<"}, "cannot be opened"),
    ],
    ids=["huge", "file", "circle", "garbage"],
)
def test_what_a_camera_says_of_itself_does_not_end_capture(
    mesh: RunningMesh, eye: GigeCamera, app: Mesh, hostile: Any, text: str
) -> None:
    pid = mesh.pids()["capture"]
    with GigeCamera("127.0.0.3", "H0001", **hostile) as camera:
        with pytest.raises(CallFailed) as caught:
            mesh.call("capture.start", stream="hostile", source=f"genicam://{camera.address}")
        assert (caught.value.code, text in str(caught.value)) == (503, True), caught.value
        assert not camera.controlled
        mesh.call("capture.stop", stream="hostile")
    assert mesh.pids()["capture"] == pid


# -- loss ----------------------------------------------------------------------------------------------------


def test_a_camera_that_falls_silent(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye)
    pictures(app)
    eye.silent = True
    try:
        mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "reconnecting", 15, "the loss is seen")
        assert "gone" in mesh.actual("streams", "eye")["error"]["message"]
    finally:
        eye.silent = False
    mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "live", 15, "it is back")


def test_another_program_has_it(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    eye.set_register(HEARTBEAT, 6000)  # longer than one that was killed is waited for
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(1)
        other.connect((eye.address, 3956))
        other.send(struct.pack(">BBHHHII", 0x42, 1, 0x82, 8, 1, 0x0A00, 2))
        other.recv(100)
        with pytest.raises(CallFailed, match=r"503: camera Test-Eye-T0001 at .* is controlled by another program"):
            start(mesh, eye)
    # Its heartbeat ends with it.
    mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "live", 15, "the camera is free")


def test_signs_of_life_leave_room_for_lost_ones(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye)
    assert eye.register(HEARTBEAT) == 1500
    before, since = eye.signs_of_life, time.monotonic()
    mesh.wait_for(lambda: eye.signs_of_life >= before + 7, 10, "questions of the controller")
    assert time.monotonic() - since < 4  # 2 s on a quiet machine


def test_two_streams_of_one_camera(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    start(mesh, eye)
    with pytest.raises(CallFailed, match="409: camera Test-Eye-T0001 is used by stream 'eye' of this node; stop that"):
        mesh.call("capture.start", stream="second", source=f"genicam://{eye.address}")
    mesh.call("capture.stop", stream="eye")
    mesh.wait_for(lambda: mesh.actual("streams", "second")["state"] == "live", 15, "the second one has it")


def test_capture_is_killed(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    """The camera lets go of a controller that it does not hear for 1.5 s, and the next one gets it."""
    start(mesh, eye)
    epoch = mesh.actual("streams", "eye")["epoch"]
    mesh.kill("capture")

    def back() -> bool:
        actual = mesh.actual("streams", "eye")
        return bool(actual["epoch"] > epoch and actual["state"] == "live")

    mesh.wait_for(back, 20, "the new capture has the camera")  # 2 s on a quiet machine


def leaks(pid: int) -> tuple[int, int]:
    """Open files and threads."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def test_aravis_own_camera_is_killed_and_comes_back(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    camera = FakeCamera()
    before = None
    with camera.running():
        mesh.call("capture.start", stream="eye", source=camera.source)
        assert pictures(app)[0].array.shape == (512, 512)
    for _ in range(2):
        mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "reconnecting", 15, "the loss is seen")
        with camera.running():
            back_at = time.monotonic()
            mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "live", 10, "it is back")
            assert time.monotonic() - back_at < 5  # about 1.5 s on a quiet machine
            pid = mesh.pids()["capture"]
            if before is None:
                mesh.wait_for(lambda: not closing(mesh.pids()["capture"]), 20, "the lost camera is closed")
                before = leaks(pid)
    with camera.running():
        mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "live", 20, "it is back")
        mesh.wait_for(lambda: leaks(pid) <= before, 20, f"no more files and threads than {before}")


def closing(pid: int) -> bool:
    names = [Path(f"/proc/{pid}/task/{task}/comm").read_text() for task in os.listdir(f"/proc/{pid}/task")]
    return sum("arv_gv_heartb" in name for name in names) > 1


def test_aravis_own_camera_shows_its_pattern(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    camera = FakeCamera()
    with camera.running():
        # Two features of its description have no standard names; that is a camera's right.
        spec = {"pixel_format": "gray16le", "controls": {"ExposureTimeAbs": 20_000, "GainRaw": 1}}
        mesh.call("capture.start", stream="eye", source=camera.source, **spec)
        assert camera.register(0x120) == 20_000
        frame = pictures(app)[0]
        assert frame.ref.exposure_ns == 20_000_000
        reply = mesh.call("capture.eye.snapshot", format="png")
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(reply["data"]))))
        assert picture.shape[:2] == (512, 512)
        assert int(picture.max()) - int(picture.min()) > 200  # a ramp, from black to white
        mesh.call("capture.stop", stream="eye")


def test_a_name_that_no_camera_has(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    text = "404: source genicam://GV78: no such camera; there are Aravis-Fake-GV77"
    with FakeCamera("GV77").running(), pytest.raises(CallFailed, match=text):
        mesh.call("capture.start", stream="eye", source="genicam://GV78")


def test_a_listed_source_can_be_played_whatever_its_name(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    with FakeCamera("GV/7 #%").running():
        found = mesh.call("capture.test.devices", refresh=True, network=True)["devices"]
        (source,) = (one["source"] for one in found if one["kind"] == "genicam" and one["serial"] == "GV/7 #%")
        assert source == "genicam://Aravis-Fake-GV%2F7-%23%25"
        assert mesh.call("capture.start", stream="eye", source=source)["actual"]["state"] == "live"
        mesh.call("capture.stop", stream="eye")


def test_the_list_of_cameras(mesh: RunningMesh, eye: GigeCamera, app: Mesh) -> None:
    with FakeCamera("GV77").running():
        found = mesh.call("capture.test.devices", refresh=True, network=True)["devices"]
        camera = next(one for one in found if one["kind"] == "genicam" and one["serial"] == "GV77")
        assert (camera["vendor"], camera["model"], camera["address"]) == ("Aravis", "Fake", "127.0.0.1")
        assert camera["source"] == "genicam://Aravis-Fake-GV77"
        assert {one["pixel_format"] for one in camera["formats"]} >= {"Mono8", "Mono16", "BayerRG8"}
        exposure = next(one for one in camera["controls"] if one["name"] == "ExposureTimeAbs")
        assert (exposure["kind"], exposure["minimum"], exposure["maximum"]) == ("float", 10, 10_000_000)
        mesh.call("capture.start", stream="eye", source="genicam://GV77")
        mesh.call("capture.stop", stream="eye")

"""The Smart Vision client on a real mesh: a camera `cam0` (pattern), `cam1` (a clip), and what does not exist."""

import gc
import http.server
import json
import os
import shutil
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.clients import smartvision as sdk
from shared.clients.smartvision import connection
from tests.support.client import client
from tests.support.mesh import RunningMesh, bunny
from tests.support.peers import probe, wait_until

pytestmark = pytest.mark.integration

_WIDTH, _HEIGHT = 1280, 720


@pytest.fixture(scope="module")
def control_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("io")
    for name in ("do1", "do2", "lamp"):
        (folder / name).touch()
    return folder


@pytest.fixture(scope="module")
def mesh(control_files: Path) -> Iterator[RunningMesh]:
    environment = {
        "FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000",
        "FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(control_files),
    }
    with RunningMesh(environment=environment) as running:
        running.call("capture.start", stream="cam0", source=f"test://?size={_WIDTH}x{_HEIGHT}&fps=30")
        clip = shutil.copy(bunny(), running.media_dir / "clip.mp4")
        running.call("capture.start", stream="cam1", source=clip.as_uri())
        running.call("capture.start", stream="other", source="test://?size=640x360")
        yield running


@pytest.fixture(autouse=True)
def connected(mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("FRAMEMESH_NATS_URL", "FRAMEMESH_NODE", "FRAMEMESH_SHM_DIR"):
        monkeypatch.setenv(name, mesh.environment[name])
    yield
    connection.close()


class Seen:
    """A callback that counts, and keeps what it was given of the last picture."""

    def __init__(self) -> None:
        self.count = 0
        self.image: sdk.Image | None = None
        self.place: sdk.SVSdkMemfdInfo | None = None
        self._more = threading.Condition()

    def __call__(self, image: sdk.Image, mem_info: sdk.SVSdkMemfdInfo) -> int:
        with self._more:
            self.count += 1
            self.image, self.place = image, mem_info
            self._more.notify_all()
        return 0

    def wait(self, count: int, seconds: float = 15.0) -> None:
        with self._more:
            assert self._more.wait_for(lambda: self.count >= count, seconds), self.count


def _last_error() -> str:
    return sdk.log_last_msg(sdk.SVLogLevel.SERROR)


def _profile(tmp_path: Path, **keys: object) -> sdk.DeviceParam:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(keys))
    parameters = sdk.DeviceParam()
    parameters.set_cfgname(str(file))
    return parameters


def _demanded(mesh: RunningMesh, stream: str) -> bool:
    return bool(mesh.actual("streams", stream)["decoding"])


# -- pictures ----------------------------------------------------------------------------------------------------


def _mapped_file(address: int) -> str:
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, name = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in span.split("-"))
        if start <= address < end:
            return name
    return ""


def _address(data: memoryview) -> int:
    return int(np.frombuffer(data, np.uint8).__array_interface__["data"][0])


def test_pictures_are_used_in_place(mesh):
    found = []

    def look(image, mem_info):
        found.append((image.w, image.h, image.c, image.length, _mapped_file(_address(image.data))))

    camera = sdk.Camera()
    assert camera.open(look) == 0
    camera.start_capture()
    wait_until(lambda: len(found) >= 5, 15, "pictures come")
    tracemalloc.start()
    try:
        before = len(found)
        wait_until(lambda: len(found) >= before + 20, 15, "more come")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert camera.close() == 0
    picture_bytes = _WIDTH * _HEIGHT * 3 // 2
    assert {entry[:4] for entry in found} == {(_WIDTH, _HEIGHT, 3, picture_bytes)}
    assert all(str(mesh.shm_dir) in entry[4] for entry in found)
    assert peak_bytes < picture_bytes, "no picture was copied"


def test_a_kept_picture_is_not_written_again_and_none_can_be_damaged(mesh):
    seen = Seen()
    camera = sdk.Camera()
    assert camera.open(seen) == 0
    camera.start_capture()
    seen.wait(3)
    kept = seen.image
    assert kept is not None
    data = kept.data
    before, count = bytes(data), seen.count
    del kept  # the view alone holds it
    seen.wait(count + 40)  # the ring has 8 slots
    assert bytes(data) == before
    assert data.readonly
    assert seen.image is not None
    assert bytes(seen.image.data) != before
    place = seen.place
    assert place is not None
    assert (place.srcYPlaneStride, place.srcSliceHeight, place.cam_id) == (_WIDTH, _HEIGHT, 0)
    assert place.planeOffset == seen.image.planeOffset == _WIDTH * _HEIGHT
    assert place.memCopyStartIndex == place.memCopyEndIndex
    picture = sdk.get_cvimage(seen.image, 0, 1000)
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((_HEIGHT, _WIDTH, 3), np.uint8)
    assert picture.std() > 10, "it shows something"
    picture[:] = 0
    assert camera.close() == 0
    del data
    gc.collect()


def test_a_callback_that_fails_or_is_slow_does_not_end_the_stream():
    calls = []

    def fail(image, _mem_info):
        calls.append(time.monotonic())
        time.sleep(0.1)  # three pictures long
        raise ValueError("my own fault")

    camera = sdk.Camera()
    assert camera.open(fail) == 0
    camera.start_capture()
    wait_until(lambda: len(calls) >= 5, 15, "it is called again")
    assert "camera 0: the callback failed: ValueError: my own fault" in _last_error()
    assert camera.close() == 0
    ended = len(calls)
    time.sleep(0.3)
    assert len(calls) == ended, "closed is closed"


def test_stopping_withdraws_the_demand_and_starting_goes_on(mesh):
    seen = Seen()
    camera = sdk.Camera()
    assert camera.open(seen) == 0
    time.sleep(0.3)
    assert seen.count == 0, "open does not start"
    camera.start_capture()
    seen.wait(3)
    mesh.wait_for(lambda: _demanded(mesh, "cam0"), what="it is decoded")
    sdk.stop_camera_capture(0)
    stopped = seen.count
    mesh.wait_for(lambda: not _demanded(mesh, "cam0"), 10, "nobody asks for pictures any more")
    assert seen.count == stopped
    assert sdk.get_camera_status(0) == 2, "the camera itself goes on"
    sdk.start_camera_capture(0)
    seen.wait(stopped + 3)
    assert sdk.get_fps() > 5
    camera.stop_capture()
    sdk.stop_camera_capture(0)
    assert camera.close() == 0
    assert camera.close() == -1
    assert "close: the camera is not open" in _last_error()


def test_a_callback_may_stop_its_own_camera():
    camera = sdk.Camera()
    calls = []

    def once(image, _mem_info):
        calls.append(image.w)
        camera.stop_capture()

    assert camera.open(once) == 0
    camera.start_capture()
    wait_until(lambda: bool(calls), 15, "a picture")
    time.sleep(0.3)
    assert len(calls) == 1
    camera.start_capture()
    wait_until(lambda: len(calls) == 2, 15, "another one")
    assert camera.close() == 0


def test_pictures_without_a_camera_of_ones_own():
    picture = sdk.image_read(1)
    assert picture is not None
    assert picture.shape == (720, 1280, 3)
    assert picture.std() > 5
    sdk.start_camera_capture(1)
    newest = sdk.get_cvimage(None, 1, 10_000)
    assert newest is not None
    assert newest.shape == (720, 1280, 3)
    assert sdk.image_read(1) is not None
    sdk.stop_camera_capture(1)
    assert sdk.get_cvimage("no image", 0, 10) is None
    assert "img 'str'" in _last_error()


# -- cameras -----------------------------------------------------------------------------------------------------


def test_which_cameras_there_are(mesh, monkeypatch):
    assert sdk.get_all_cam_index() == [0, 1]
    assert sdk.get_all_cam_ids() == ["cam0", "cam1"]
    assert sdk.get_all_cameras() == {0: "cam0", 1: "cam1"}
    assert (sdk.get_cam_id(1), sdk.get_cam_index("cam1")) == ("cam1", 1)
    assert (sdk.get_loc_id_by_idx(1), sdk.get_idx_by_loc_id(1)) == (1, 1)
    assert (sdk.get_camera_status(0), sdk.qmm_status(0)) == (2, 2)
    assert (sdk.get_dst_width(1), sdk.get_dst_height(1)) == (1280, 720)
    monkeypatch.setenv("FRAMEMESH_SMARTVISION_STREAMS", "other, cam0")
    assert sdk.get_all_cam_ids() == ["other", "cam0"]
    assert sdk.get_dst_width(0) == 640


def test_what_does_not_exist_is_told_by_value_and_log(mesh):
    assert sdk.get_cam_id(7) == ""
    assert "get_cam_id: camera 7 (stream cam7) does not exist; there are: 0 (cam0), 1 (cam1)" in _last_error()
    assert sdk.get_camera_info(7) == sdk.get_camera_default_setting(7) == sdk.get_sensor_model_info(7) == ""
    assert sdk.get_cam_index("nobody") == sdk.get_idx_by_loc_id(99) == sdk.get_loc_id_by_idx(7) == -1
    assert (sdk.get_camera_status(7), sdk.qmm_status(7), sdk.get_dst_width(7), sdk.get_fps(7)) == (0, 0, 0, 0.0)
    assert sdk.image_read(7) is None
    assert sdk.start_record(7) == -1
    assert sdk.stop_record(7) == sdk.MediaInfo()
    assert sdk.get_cam_id("x") == ""
    assert "get_cam_id: idx 'x': give a camera's index" in _last_error()
    sdk.qmm_cleanup(7)
    sdk.start_camera_capture(-1)
    camera = sdk.Camera()
    assert camera.open(None) == -1
    assert camera.open("settings.json", print) == -1
    assert "open: dev_param 'settings.json': give a DeviceParam" in _last_error()
    camera.start_capture()
    assert "start_capture: the camera is not open" in _last_error()


def test_signals_go_to_outputs(mesh, control_files):
    do1, do2 = control_files / "do1", control_files / "do2"
    mesh.call("io-signal.start", signal="do1", mode="io", address=do1.as_uri(), keep="100ms")
    mesh.call("io-signal.start", signal="do2", mode="io", address=do2.as_uri())
    assert sdk.send_signal_on(1) == 0, _last_error()
    mesh.wait_for(lambda: do1.read_text() == "0", what="the configured keep time")
    assert sdk.send_signal_on(2) == 0
    assert do2.read_text() == "1"
    assert sdk.send_signal_off(2) == 0
    assert do2.read_text() == "0"
    assert sdk.send_signal_on(2, 150) == 0
    assert do2.read_text() == "1"
    mesh.wait_for(lambda: do2.read_text() == "0", what="the given keep time")
    [entry] = [one for one in mesh.call("io-signal.list")["signals"] if one["spec"]["signal"] == "do1"]
    assert entry["actual"]["by"] == "smartvision"
    assert sdk.send_signal_on(2) == 0
    assert sdk.set_off_mode() == 0
    try:
        assert do2.read_text() == "0"
        assert sdk.send_signal_on(2) == -1
        assert "send_signal_on: off-mode is active" in _last_error()
    finally:
        mesh.call("io-signal.off-mode", active=False)
    assert sdk.send_signal_on(9) == -1
    assert "signal 'do9' does not exist" in _last_error()
    assert sdk.send_signal_on(-1) == sdk.send_signal_off("do1") == sdk.send_signal_on(True) == -1
    assert sdk.send_signal_on(2, 0) == -1
    assert "keeptime 0: give milliseconds from 1 on" in _last_error()


def test_texts_go_to_a_cameras_device_and_to_hosts(mesh, control_files):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        port = server.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}"
        mesh.call("io-signal.start", signal="plc", mode="tcp", address=address, streams=["cam1"])
        setting = sdk.TcpConfig()
        assert sdk.get_tcp_setting(0, setting) == -1
        assert "stream 'cam0' has no signal of mode tcp" in _last_error()
        assert setting == sdk.TcpConfig()
        assert sdk.get_tcp_setting(1, setting) == 0
        assert setting == sdk.TcpConfig("127.0.0.1", port)
        assert sdk.tcp_send_signal(1, "NG 7\n") == 0, _last_error()
        assert sdk.tcp_send("hello\n", setting) == 0, _last_error()
        device, _ = server.accept()
        with device:
            device.settimeout(10)
            came = b""
            while not came.endswith(b"hello\n"):
                came += device.recv(4096)
    assert came == b"OFF plc\nNG 7\nhello\n", "its safe state comes first"
    assert sdk.tcp_send("x", sdk.TcpConfig("8.8.8.8", 9)) == -1, "not where signals may go"
    assert sdk.tcp_send("x", sdk.TcpConfig()) == sdk.tcp_send_signal(0, "x") == -1
    mesh.call("io-signal.stop", signal="plc", wait_s=0)
    lamp = control_files / "lamp"
    assert sdk.io_send("green", str(lamp)) == 0, _last_error()
    assert lamp.read_text() == "green"
    assert sdk.io_send("1", "/etc/passwd") == -1
    assert "FRAMEMESH_IO_SIGNAL_FILE_ROOTS" in _last_error()


# -- settings ----------------------------------------------------------------------------------------------------


def test_a_profile_is_taken_on_and_read_back(mesh, tmp_path):
    camera = sdk.Camera()
    seen = Seen()
    assert camera.open(_profile(tmp_path, cam_id=0, fps=10), seen) == 0, _last_error()
    info = json.loads(sdk.get_camera_info(0))
    assert (info["fps"], info["cam_id"]) == (10, 0)
    assert info["source"].startswith("test://")
    (tmp_path / "again.json").write_text(sdk.get_camera_info(0))
    assert sdk.configure_camera(str(tmp_path / "again.json"), True, True) == 0
    defaults = json.loads(sdk.get_camera_default_setting(0))
    assert defaults["fps"] is None
    assert defaults["rotate"] == 0
    (tmp_path / "defaults.json").write_text(json.dumps(defaults))
    assert sdk.configure_camera(str(tmp_path / "defaults.json"), False, True) == 0
    assert json.loads(sdk.get_camera_info(0))["fps"] == 10, "only judged"
    assert sdk.configure_camera(str(tmp_path / "defaults.json"), True, True) == 0
    assert "fps" not in json.loads(sdk.get_camera_info(0))
    assert camera.close() == 0


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"colour": 1}, "unknown field `colour`"),
        ({"fps": "many"}, "`fps`"),
        ({"fps": 100000}, "`fps`"),
        ({"crop": "1x1"}, "crop '1x1': write WIDTHxHEIGHT+X+Y"),
        ({"cam_id": "nobody"}, "camera 'nobody' does not exist"),
        ({"cam_id": 5}, "camera 5 (stream cam5) does not exist"),
        ({"source": 5}, "`source`"),
    ],
)
def test_a_wrong_profile_names_its_key_and_leaves_the_camera(mesh, tmp_path, keys, told):
    before = sdk.get_camera_info(0)
    parameters = _profile(tmp_path, **keys)
    assert sdk.Camera().open(parameters, print) == -1
    assert told in _last_error()
    assert sdk.configure_camera(parameters.cfg_name, True, True) == -1
    assert sdk.get_camera_info(0) == before
    assert sdk.get_camera_status(0) == 2


def test_files_that_are_no_profiles(tmp_path):
    for path, text, told in (
        (tmp_path / "none.json", None, "No such file"),
        (tmp_path / "half.json", '{"fps":', "not JSON"),
        (tmp_path / "list.json", "[]", "not JSON: Expected `object`"),
        (tmp_path / "long.json", " " * 2_000_000, "at most 1048576 bytes"),
    ):
        if text is not None:
            path.write_text(text)
        assert sdk.configure_camera(str(path), True, True) == -1
        assert str(path) in _last_error()
        assert told in _last_error()


def test_binning_and_bits_are_asked_of_the_camera(mesh):
    before = sdk.get_camera_info(0)
    assert sdk.set_bpp_binning("cam0", 1, 9, 9, 0, 0) == -1
    assert "binning '9x9'" in _last_error()
    assert sdk.set_bpp_binning("cam0", 0, 0, 0, 1, 9) == -1
    assert "bpp 9" in _last_error()
    assert sdk.get_camera_info(0) == before
    assert sdk.set_bpp_binning("cam0", 0, 0, 0, 0, 0) == 0


def test_a_camera_is_made_from_a_profile_and_ended(mesh, tmp_path):
    seen = Seen()
    camera = sdk.Camera()
    parameters = _profile(tmp_path, cam_id=3, source="test://?size=640x360")
    assert camera.open(parameters, seen) == 0, _last_error()
    camera.start_capture()
    seen.wait(2)
    assert sdk.get_all_cam_index() == [0, 1, 3]
    assert camera.close() == 0
    sdk.qmm_cleanup(3)
    assert sdk.get_all_cam_index() == [0, 1]
    assert sdk.qmm_status(3) == 0
    lost = _profile(tmp_path, cam_id=4, source="rtsp://127.0.0.1:9/x")
    assert sdk.Camera().open(lost, print) == -1
    assert "refuses the connection" in _last_error()
    assert sdk.get_all_cam_index() == [0, 1], "what cannot be opened is not left behind"


def test_lost_cameras_are_cleaned_up_and_the_others_stay(mesh):
    with client(mesh) as app, pytest.raises(Exception, match="refuses"):
        app.start_stream("cam9", "rtsp://127.0.0.1:9/x")
    assert (sdk.get_camera_status(9), sdk.qmm_status(9)) == (4, 4)
    sdk.qmm_cleanup_invalid()
    assert sdk.get_all_cam_index() == [0, 1]
    assert sdk.qmm_status(0) == 2


# -- recording, results ------------------------------------------------------------------------------------------


def test_recording_a_camera(mesh):
    assert sdk.get_record_status() == -1
    assert sdk.start_record(1) == 0, _last_error()
    assert sdk.get_record_status() == 0
    assert sdk.start_record(1) == -1
    assert "cam1 is being recorded" in _last_error()
    # The clip's own packets begin with its next key picture, which may be 5 s away.
    mesh.wait_for(lambda: mesh.call("publisher.recording", stream="cam1")["duration_s"] >= 2, 30, "2 s are recorded")
    found = sdk.stop_record(1)
    assert sdk.get_record_status() == -1
    video = probe(Path(found.file_name))["video"]
    assert (found.width, found.height, found.frame_rate) == (1280, 720, 25)
    assert found.duration == pytest.approx(video.seconds, abs=1)
    assert found.duration >= 1
    assert found.file_size == Path(found.file_name).stat().st_size


class _Sve(http.server.BaseHTTPRequestHandler):
    bodies: list[object] = []  # noqa: RUF012  # one server in one test
    status = 200

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not in the test's output."""


def test_results_are_posted(monkeypatch):
    assert sdk.notify_sve(sdk.SPhase.RUNNING) == -1
    assert "FRAMEMESH_SMARTVISION_SVE_URL '': set it to http://host:port/path" in _last_error()
    with http.server.HTTPServer(("127.0.0.1", 0), _Sve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("FRAMEMESH_SMARTVISION_SVE_URL", f"http://127.0.0.1:{server.server_port}/sve")
        assert sdk.notify_sve(sdk.SPhase.RUNNING) == 0
        assert sdk.notify_sve(77) == -1
        assert sdk.save_result("r1", "1.0", "/a.png", "/m.png", "/f.png") == 0
        _Sve.status = 302
        assert sdk.save_result("r1", "1.0", "/a.png", "/m.png", "/f.png", "more") == -1
        assert "answers with status 302" in _last_error()
        server.shutdown()
        thread.join()
    assert _Sve.bodies[0] == {"type": "phase", "phase": 2, "name": "RUNNING"}
    assert _Sve.bodies[1]["final_file"] == "/f.png"
    assert _Sve.bodies[2]["additional"] == "more"
    assert sdk.notify_sve(sdk.SPhase.IDLE) == -1, "nobody there"


# -- the connection ----------------------------------------------------------------------------------------------


def test_a_forked_child_is_refused_and_harms_nobody():
    assert sdk.get_all_cam_index() == [0, 1]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        found = sdk.get_all_cam_index()
        os.write(writer, f"{found} {_last_error()}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    assert told.startswith("[] ")
    assert "was forked" in told
    assert sdk.get_all_cam_index() == [0, 1]


def test_the_bus_may_restart(mesh):
    seen = Seen()
    camera = sdk.Camera()
    assert camera.open(seen) == 0
    camera.start_capture()
    seen.wait(3)
    mesh.kill("nats-server")
    mesh.wait_for(lambda: "nats-server" in mesh.pids(), 20, "the bus is back")
    wait_until(lambda: sdk.get_camera_status(0) == 2, 30, "commands are answered again")
    count = seen.count
    seen.wait(count + 10, 30)
    assert camera.close() == 0


def test_without_a_mesh_everything_answers(monkeypatch):
    connection.close()
    monkeypatch.setenv("FRAMEMESH_NATS_URL", "nats://127.0.0.1:9")
    assert sdk.Camera().open(print) == -1
    assert "no NATS server at nats://127.0.0.1:9" in _last_error()


def test_all_cameras_end(mesh):
    sdk.qmm_cleanup_all()
    assert sdk.get_all_cam_index() == []
    assert mesh.actual("streams", "other")["state"] == "live", "it has no index"

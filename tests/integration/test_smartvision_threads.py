"""The Smart Vision client among threads, processes and things that end: nothing hangs, leaks or comes late."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.clients import smartvision as sdk
from shared.clients.smartvision import connection
from tests.support.mesh import RunningMesh
from tests.support.peers import probe, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000"}) as running:
        for name in ("cam0", "cam1"):
            running.call("capture.start", stream=name, source="test://?size=640x360&fps=30")
        yield running


@pytest.fixture(autouse=True)
def connected(mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("FRAMEMESH_NATS_URL", "FRAMEMESH_NODE", "FRAMEMESH_SHM_DIR"):
        monkeypatch.setenv(name, mesh.environment[name])
    yield
    connection.close()


def _last_error() -> str:
    return sdk.log_last_msg(sdk.SVLogLevel.SERROR)


def test_stopped_is_stopped_also_where_another_camera_shares_the_pictures():
    running, late = threading.Event(), []
    stopped = False

    def slow(_image, _mem_info):
        running.set()
        time.sleep(0.2)
        if stopped:
            late.append(time.monotonic())
        running.clear()

    other = []
    first, second = sdk.Camera(), sdk.Camera()
    assert first.open(lambda *_: other.append(1)) == second.open(slow) == 0
    first.start_capture()
    for _ in range(4):
        stopped = False
        second.start_capture()
        assert running.wait(15)
        second.stop_capture()
        stopped = True
        assert not running.is_set(), "it is waited for"
        time.sleep(0.3)
        assert not late, "and not called again"
    before = len(other)
    wait_until(lambda: len(other) > before + 3, 15, "the other one goes on")
    assert first.close() == second.close() == 0


def test_two_threads_start_one_camera_once():
    calls, counts = [], []
    camera = sdk.Camera()

    def note(image, mem_info):
        calls.append(image)
        counts.append(calls.count(image))
        del calls[:-2]

    assert camera.open(note) == 0
    starters = [threading.Thread(target=camera.start_capture) for _ in range(8)]
    for thread in starters:
        thread.start()
    for thread in starters:
        thread.join(10)
    wait_until(lambda: len(counts) >= 10, 15, "pictures")
    assert set(counts) == {1}, "each picture once"
    assert camera.close() == 0
    ended = len(counts)
    time.sleep(0.2)
    assert len(counts) == ended


def test_a_callback_that_exits_does_not_end_the_pictures():
    calls = []

    def leave(_image, _mem_info):
        calls.append(1)
        sys.exit(3)

    camera = sdk.Camera()
    assert camera.open(leave) == 0
    camera.start_capture()
    wait_until(lambda: len(calls) >= 3, 15, "it is called again")
    assert "the callback failed: SystemExit: 3" in _last_error()
    assert camera.close() == 0


def test_callbacks_may_end_each_others_cameras_and_their_own():
    first, second = sdk.Camera(), sdk.Camera()
    profile = sdk.DeviceParam()
    ended = []

    def end(camera):
        def callback(_image, _mem_info):
            ended.append((camera.close(), sdk.get_camera_status(0), sdk.get_all_cam_index()))

        return callback

    assert first.open(end(second)) == 0
    assert second.open(profile, end(first)) == -1, "no file was named"
    assert second.open(end(first)) == 0
    first.start_capture()
    second.start_capture()
    wait_until(lambda: bool(ended), 15, "one has ended the other")
    first.close()
    second.close()
    assert ended[0] == (0, 2, [0, 1])
    calls = []
    again = sdk.Camera()

    def restart(_image, _mem_info):
        calls.append(time.monotonic())
        for _ in range(3):
            again.stop_capture()
            again.start_capture()
        if len(calls) == 3:
            assert again.close() == 0

    assert again.open(restart) == 0
    again.start_capture()
    wait_until(lambda: len(calls) == 3, 15, "it goes on after each")
    assert calls[-1] - calls[0] < 4, "nobody waits for themselves"
    time.sleep(0.2)
    assert len(calls) == 3


def test_the_rate_is_right_from_the_first_pictures_on():
    rates, seen = [], []
    camera = sdk.Camera()

    def note(_image, _mem_info):
        seen.append(time.monotonic())
        if len(seen) == 10:
            rates.append(sdk.get_fps(0))

    assert camera.open(note) == 0
    camera.start_capture()
    wait_until(lambda: bool(rates), 15, "ten pictures")
    assert camera.close() == 0
    assert rates[0] == pytest.approx(9 / (seen[9] - seen[0]), rel=0.6), "not a third, for the 2 s that are not over"


def test_fifty_rounds_leave_nothing_behind():
    def round_() -> None:
        come = threading.Event()
        camera = sdk.Camera()
        assert camera.open(lambda *_: come.set()) == 0
        camera.start_capture()
        assert come.wait(15)
        assert camera.close() == 0

    def held() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    for _ in range(3):
        round_()
    before = held()
    for _ in range(50):
        round_()
    assert held() == before


def test_a_camera_that_is_closed_at_once_on_a_new_connection():
    for _ in range(5):
        come = threading.Event()
        camera = sdk.Camera()
        assert camera.open(lambda *_, come=come: come.set()) == 0
        camera.start_capture()
        assert come.wait(15)
        connection.close()
        assert camera.close() == 0
        before = _last_error()
        quick = sdk.Camera()
        assert quick.open(print) == 0
        quick.start_capture()
        assert quick.close() == 0
        assert _last_error() == before


def test_a_forked_child_may_close_and_waits_for_nothing():
    come = threading.Event()
    camera = sdk.Camera()
    assert camera.open(lambda *_: come.set()) == 0
    camera.start_capture()
    assert come.wait(15)
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        camera.start_capture()
        camera.stop_capture()
        os._exit(camera.close() & 0x7F)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0x7F, "-1"
    assert camera.close() == 0


_PROGRAM = """
import sys, time
from shared.clients import smartvision as smartvisionsdk

smartvisionsdk.set_log_level(smartvisionsdk.SVLogLevel.SWARNING)
seen = []


def callback(image, mem_info):
    seen.append(image)  # held until the end
    del seen[:-2]
    smartvisionsdk.get_fps()


camera = smartvisionsdk.Camera()
assert camera.open(callback) == 0
camera.start_capture()
smartvisionsdk.start_camera_capture(1)
while len(seen) < 2:
    time.sleep(0.01)
"""


@pytest.mark.parametrize(("last", "code"), [("", 0), ("sys.exit(3)", 3), ("camera.close(); camera.close()", 0)])
def test_a_program_that_just_ends_does_so_quietly_and_soon(mesh, last, code):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM + last], env=mesh.environment, capture_output=True, text=True, timeout=40
    )
    assert done.returncode == code
    told = [line for line in done.stderr.splitlines() if "close: the camera is not open" not in line]
    assert not told
    assert time.monotonic() - began < 10


def test_a_recording_outlives_its_camera(mesh):
    assert sdk.start_record(1) == 0, _last_error()
    mesh.wait_for(lambda: mesh.call("publisher.recording", stream="cam1")["duration_s"] >= 2, 20, "2 s")
    sdk.qmm_cleanup(1)
    assert sdk.qmm_status(1) == 0
    assert sdk.get_record_status() == 0
    found = sdk.stop_record(1)
    assert (found.width, found.height) == (640, 360)
    assert found.duration >= 2
    assert probe(Path(found.file_name))["video"].decoded > 30
    assert sdk.get_record_status() == -1
    assert sdk.stop_record(1) == sdk.MediaInfo()
    mesh.call("capture.start", stream="cam1", source="test://?size=640x360&fps=30")


def test_a_source_that_is_refused_leaves_the_camera_as_it_was(mesh, tmp_path):
    before = sdk.get_camera_info(0)
    parameters = sdk.DeviceParam()
    for source in ("rtsp://127.0.0.1:9/x", "gopher://x", "file:///nowhere.mp4"):
        (tmp_path / "profile.json").write_text(json.dumps({"source": source, "fps": 10}))
        parameters.set_cfgname(str(tmp_path / "profile.json"))
        assert sdk.Camera().open(parameters, print) == -1
        assert "open: " in _last_error()
        assert sdk.get_camera_info(0) == before
        assert sdk.get_camera_status(0) == 2
    assert sdk.configure_camera(parameters.cfg_name, False, True) == 0
    assert "source is left as it is" in sdk.log_last_msg(sdk.SVLogLevel.SWARNING)

"""The examples of the Smart Vision Python API's document as one program, where only the import differs.

It runs as a program of its own, in a folder that has a `shared` of its own, as a user's may.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mesh import RunningMesh, bunny
from tests.support.peers import probe

pytestmark = pytest.mark.integration

_PROGRAM = """
import json
import time

from shared.clients import smartvision as smartvisionsdk

told = {}
sizes = []

# Logs.
smartvisionsdk.set_log_level(smartvisionsdk.SVLogLevel.SINFO)
log_path = "./aidclog_smart_vision_setting_"
smartvisionsdk.set_log_destination(log_path, False)
told["version"] = smartvisionsdk.get_build_version()


def my_get_img_cb(cap_img, mem_info):
    im = smartvisionsdk.get_cvimage(cap_img, 0, 1000)
    sizes.append((cap_img.w, cap_img.h, im.shape, mem_info.cam_id))
    return 0


def wait_for_pictures():
    deadline = time.monotonic() + 20
    while len(sizes) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)


# Without parameters.
camera_instance = smartvisionsdk.Camera()
res = camera_instance.open(my_get_img_cb)
told["open"] = res
camera_instance.start_capture()
wait_for_pictures()
told["fps"] = smartvisionsdk.get_fps()
camera_instance.stop_capture()
told["close"] = camera_instance.close()
told["sizes"] = sorted(set(map(repr, sizes)))

# With parameters.
sizes.clear()
device_param = smartvisionsdk.DeviceParam()
device_param.set_cfgname("./config.json")
camera_instance = smartvisionsdk.Camera()
told["open_with"] = camera_instance.open(device_param, my_get_img_cb)
camera_instance.start_capture()
wait_for_pictures()
camera_instance.stop_capture()
told["close_with"] = camera_instance.close()
told["sizes_with"] = sorted(set(map(repr, sizes[-2:])))

# Settings.
told["info"] = smartvisionsdk.get_camera_info(0)
told["setting"] = smartvisionsdk.get_camera_default_setting(0)
told["model"] = smartvisionsdk.get_sensor_model_info(0)
told["ids"] = smartvisionsdk.get_all_cam_ids(False)
told["cameras"] = smartvisionsdk.get_all_cameras(False)
told["configure"] = smartvisionsdk.configure_camera("./param.json", True, True)
smartvisionsdk.start_camera_capture(0)
smartvisionsdk.stop_camera_capture(0)
told["off"] = smartvisionsdk.set_off_mode()
told["service"] = smartvisionsdk.qmm_status(0)

# Recording.
cam_idx = 0
if smartvisionsdk.get_camera_status(cam_idx) == 2:
    told["record"] = smartvisionsdk.start_record(cam_idx)
record_status = smartvisionsdk.get_record_status()
told["recording"] = record_status
time.sleep(2.5)
record_info = smartvisionsdk.stop_record(cam_idx)
told["recorded"] = [record_info.duration, record_info.width, record_info.height, record_info.frame_rate]
told["file"] = [record_info.file_name, record_info.file_size]

# The end.
told["last"] = smartvisionsdk.log_last_msg(smartvisionsdk.SVLogLevel.SINFO)
smartvisionsdk.qmm_cleanup(0)
told["after_cleanup"] = smartvisionsdk.qmm_status(0)
smartvisionsdk.qmm_cleanup_all()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh(environment={"FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000"}) as running:
        running.call("capture.start", stream="cam0", source="test://?size=1280x720&fps=30")
        clip = shutil.copy(bunny(), running.media_dir / "clip.mp4")
        running.call("capture.start", stream="cam1", source=clip.as_uri())
        yield running


def test_the_documents_examples(mesh, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "own.py").write_text("")
    (tmp_path / "program.py").write_text(_PROGRAM)
    (tmp_path / "config.json").write_text('{"size": "640x360", "fps": 15}')
    (tmp_path / "param.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, **mesh.environment},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "the log went to its file"
    told = json.loads(done.stdout)
    assert [told[name] for name in ("open", "close", "open_with", "close_with", "configure")] == [0] * 5
    assert told["sizes"] == ["(1280, 720, (720, 1280, 3), 0)"]
    assert told["sizes_with"] == ["(640, 360, (360, 640, 3), 0)"]
    assert told["fps"] > 0
    assert json.loads(told["info"])["size"] == "640x360"
    assert json.loads(told["setting"])["size"] is None
    assert (told["model"], told["ids"], told["cameras"]) == ("", ["cam0", "cam1"], {"0": "cam0", "1": "cam1"})
    assert (told["off"], told["service"], told["record"], told["recording"]) == (0, 2, 0, 0)
    duration, width, height, frame_rate = told["recorded"]
    name, size = told["file"]
    assert (width, height) == (1280, 720)
    assert 1 <= duration <= 30
    assert frame_rate == pytest.approx(30, abs=5)
    assert size == Path(name).stat().st_size
    assert probe(Path(name))["video"].decoded == pytest.approx(duration * frame_rate, abs=frame_rate)
    assert told["version"]
    assert told["last"]
    assert told["after_cleanup"] == 0
    assert not mesh.status()["streams"]
    [log] = tmp_path.glob("aidclog_smart_vision_setting_*.log")
    assert "set_off_mode" not in log.read_text(), "what fails is told there"

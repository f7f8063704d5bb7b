"""The Smart Vision client with cameras that are plugged in: a webcam and a bare sensor, by a fake kernel boundary."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.clients import smartvision as sdk
from shared.clients.smartvision import connection
from tests.support.mesh import RunningMesh
from tests.support.peers import wait_until
from tests.support.v4l2 import FakeCameras, needs_gcc

pytestmark = [pytest.mark.integration, needs_gcc]


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCameras]:
    made = FakeCameras(tmp_path_factory.mktemp("cameras"))
    yield made
    made.close()


@pytest.fixture
def mesh(cameras: FakeCameras, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningMesh]:
    with RunningMesh(environment=cameras.environment) as running:
        for name in ("FRAMEMESH_NATS_URL", "FRAMEMESH_NODE", "FRAMEMESH_SHM_DIR"):
            monkeypatch.setenv(name, running.environment[name])
        yield running
        connection.close()


def test_a_camera_that_is_plugged_in_is_opened_by_its_index(mesh, cameras, tmp_path: Path):
    found = sdk.get_all_cameras(True)  # of this node and its network
    place, name = next((number, name) for number, name in found.items() if name.startswith("Web"))
    index = sdk.get_idx_by_loc_id(place)
    assert sdk.get_loc_id_by_idx(index) == place
    assert sdk.get_cam_index(name) == index
    assert name in sdk.get_sensor_model_info(index)
    assert "SN 42" in sdk.get_sensor_model_info(index)
    assert sdk.get_camera_status(index) == sdk.qmm_status(index) == 0, "it has no stream yet"
    defaults = json.loads(sdk.get_camera_default_setting(index))
    assert defaults["controls"]["brightness"] == 0
    assert defaults["source"].startswith("v4l2://")

    pictures = []
    parameters = sdk.DeviceParam()
    parameters.set_cfgname(str(tmp_path / "webcam.json"))
    (tmp_path / "webcam.json").write_text(json.dumps({"cam_id": name, "controls": {"brightness": 9}}))
    camera = sdk.Camera()
    assert camera.open(parameters, lambda image, _mem_info: pictures.append((image.w, image.h))) == 0
    camera.start_capture()
    wait_until(lambda: len(pictures) > 3, 20, "pictures come")
    assert camera.close() == 0
    assert cameras.controls()["brightness"] == 9
    assert sdk.get_camera_status(index) == sdk.qmm_status(index) == 2
    assert (sdk.get_idx_by_loc_id(place), sdk.get_cam_id(index)) == (index, name)

    before = sdk.get_camera_info(index)
    for wrong, told in (({"brightnes": 1}, "brightnes"), ({"brightness": 100_000}, "brightness")):
        (tmp_path / "wrong.json").write_text(json.dumps({"cam_id": index, "controls": wrong}))
        assert sdk.configure_camera(str(tmp_path / "wrong.json"), True, True) == -1
        assert told in sdk.log_last_msg(sdk.SVLogLevel.SERROR)
    assert sdk.get_camera_info(index) == before
    assert cameras.controls()["brightness"] == 9, "the camera is as it was"
    assert sdk.set_bpp_binning(name, 1, 2, 2, 0, 0) == -1
    assert "binning" in sdk.log_last_msg(sdk.SVLogLevel.SERROR)
    sdk.qmm_cleanup(index)
    assert sdk.get_camera_status(index) == 0
    assert index in sdk.get_all_cam_index(), "it is plugged in, and can be opened again"

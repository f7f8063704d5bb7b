"""A Smart Vision program ends the service of a camera that hangs: its process is ended, the others' pictures go on."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from shared.clients import smartvision as sdk
from shared.clients.smartvision import connection
from tests.support.mesh import RunningMesh

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(180)]

SOURCE = "test://?size=640x360&fps=10"


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


@pytest.fixture
def cameras(mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """By stream the process that has it."""
    for name in ("FRAMEMESH_NATS_URL", "FRAMEMESH_NODE", "FRAMEMESH_SHM_DIR"):
        monkeypatch.setenv(name, mesh.environment[name])
    for name in ("cam0", "cam1"):
        mesh.call("capture.start", stream=name, source=SOURCE)
    mesh.call("fleet.test.scale", service="capture", instances=2)
    owners: dict[str, int] = mesh.wait_for(lambda: _owners(mesh), 15, "one capture for each camera")
    yield owners
    connection.close()
    mesh.call("fleet.test.scale", service="capture", instances=1)


def _owners(mesh: RunningMesh) -> dict[str, int] | None:
    pids = {one["instance"]: one["pid"] for one in mesh.call("fleet.test.ps", service="capture")["members"]}
    actuals: dict[str, Any] = {name: mesh.actual("streams", name) or {} for name in ("cam0", "cam1")}
    if any(actual.get("state") != "live" for actual in actuals.values()):
        return None
    owners = {name: pids[actual["instance"]] for name, actual in actuals.items()}
    return owners if len(set(owners.values())) == 2 else None


def test_a_camera_whose_service_hangs_is_cleaned_up(mesh: RunningMesh, cameras: dict[str, int]) -> None:
    assert (sdk.qmm_status(0), sdk.qmm_status(1)) == (2, 2)
    epoch = mesh.actual("streams", "cam1")["epoch"]
    os.kill(cameras["cam0"], signal.SIGSTOP)
    assert (sdk.qmm_status(0), sdk.qmm_status(1)) == (4, 2)
    sdk.qmm_cleanup(0)
    assert sdk.qmm_status(0) == 0, sdk.log_last_msg(sdk.SVLogLevel.SERROR)
    assert sdk.get_all_cam_index() == [1]
    assert mesh.actual("streams", "cam1")["epoch"] == epoch, "the other goes on"
    listed = mesh.call("fleet.test.ps", service="capture")["members"]
    assert cameras["cam0"] not in {one["pid"] for one in listed}, "the process that hung is gone"
    assert [one["health"] for one in listed] == ["ready", "ready"]

"""The real capture service with harvesters and a GenTL producer, built here from `tests/support/gentl_producer.c`."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.client import client
from tests.support.gige_camera import sample
from tests.support.gige_description import description
from tests.support.mesh import CallFailed, RunningMesh

pytest.importorskip("harvesters", reason="pip install 'framemesh[capture-genicam]'")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(90),
    pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed; see ops/test-programs.sh"),
]

SOURCE = Path(__file__).parents[1] / "support" / "gentl_producer.c"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    folder = tmp_path_factory.mktemp("gentl")
    producer, xml = folder / "eye.cti", folder / "eye.xml"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", producer, SOURCE, "-lpthread"], check=True)
    xml.write_bytes(description())
    environment = {
        "FRAMEMESH_CAPTURE_GENICAM_BACKEND": "harvesters",
        "FRAMEMESH_CAPTURE_GENICAM_PRODUCERS": str(folder),
        "GENTL_TEST_XML": str(xml),
    }
    with RunningMesh(environment=environment) as mesh:
        yield mesh


def test_pictures_settings_and_triggers(mesh: RunningMesh) -> None:
    def start(**spec: object) -> dict[str, object]:
        return mesh.call("capture.start", stream="eye", source="genicam://G0001", **spec)["actual"]  # type: ignore[no-any-return]

    assert start(pixel_format="gray12le", controls={"ExposureTime": 2000})["state"] == "live"
    with client(mesh) as app:
        frames = app.frames("eye", timeout_seconds=10)
        frame = next(frames)
        np.testing.assert_array_equal(frame.array, sample(12, 64, 48))
        assert (frame.ref.pixel_format, frame.ref.clock, frame.ref.exposure_ns) == ("gray12le", "driver", 2_000_000)
        assert 0 <= time.time_ns() - frame.ref.captured_ns < 5_000_000_000
        epoch = frame.ref.epoch
        start(pixel_format="gray12le", controls={"ExposureTime": 3000})  # while it runs
        assert next(frame for frame in frames if frame.ref.exposure_ns == 3_000_000).ref.epoch == epoch
        frames.close()
    dropped = mesh.wait_for(lambda: mesh.call("capture.eye.stats")["dropped"], what="every tenth is not whole")
    assert dropped["damaged"] >= 1
    for spec, text in (
        ({"controls": {"ExposureTime": -5}}, "controls.ExposureTime -5: use 10 to 10000000 us"),
        ({"controls": {"ExposreTime": 5}}, "controls.ExposreTime 5: this camera has ExposureTime"),
        ({"pixel_format": "bayer_bggr8"}, "pixel_format 'bayer_bggr8': this camera has Mono8 (gray), "),
        ({"size": "100x48"}, "size '100x48': Width: use 16 to 1280 in steps of 16"),
    ):
        with pytest.raises(CallFailed) as caught:
            start(**spec)
        assert str(caught.value).startswith(f"400: {text}")
    start(trigger="software", size="320x240")
    assert mesh.call("capture.eye.trigger")["triggered_ns"] > 0
    mesh.wait_for(lambda: mesh.actual("streams", "eye")["state"] == "live", what="the picture of the trigger")
    assert mesh.actual("streams", "eye")["video"]["width"] == 320
    found = mesh.call("capture.test.devices", refresh=True)["devices"]
    camera = next(one for one in found if one["kind"] == "genicam")
    assert (camera["source"], camera["stream"], camera["error"]) == ("genicam://Test-Eye-G0001", "eye", "")
    mesh.call("capture.stop", stream="eye")


def test_a_producer_that_is_not_there() -> None:
    environment = {
        "FRAMEMESH_CAPTURE_GENICAM_BACKEND": "harvesters",
        "FRAMEMESH_CAPTURE_GENICAM_PRODUCERS": "",
        "GENICAM_GENTL64_PATH": "",
    }
    with RunningMesh(environment=environment) as mesh, pytest.raises(CallFailed) as caught:
        mesh.call("capture.start", stream="eye", source="genicam://G0001")
    assert str(caught.value).startswith("503: GenTL cameras: no producer; install the camera maker's GenTL producer")

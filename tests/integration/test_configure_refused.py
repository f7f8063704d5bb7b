"""A profile that the camera itself refuses, when it is too late to judge it: taken back, and the picture goes on.

The camera is a fake kernel boundary, see `tests/support/fake_v4l2.c`; capture runs as it would before a real one.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.resources import StreamActual, StreamSpec
from shared.bus import Bus
from shared.clients.mesh import BadRequest, Mesh
from tests.support.client import client
from tests.support.mesh import RunningMesh
from tests.support.v4l2 import EXPOSURE_ABSOLUTE_ID, WEBCAM_LOCATION, FakeCameras, needs_gcc

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60), needs_gcc]

GOOD = {"size": "640x480", "controls": {"auto_exposure": "Manual Mode", "exposure_time_absolute": 101}}
REFUSED = {"size": "640x480", "controls": {"auto_exposure": "Manual Mode", "exposure_time_absolute": 103}}


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCameras]:
    fake = FakeCameras(tmp_path_factory.mktemp("v4l2"))
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def mesh(cameras: FakeCameras) -> Iterator[RunningMesh]:
    with RunningMesh(environment=cameras.environment) as running:
        yield running


@pytest.fixture
def app(mesh: RunningMesh, cameras: FakeCameras) -> Iterator[Mesh]:
    """A client, and the webcam's stream `cam` with a good profile."""
    with client(mesh) as connected:
        cameras.webcam.refused_control = 0
        connected.start_stream("cam", f"v4l2://{WEBCAM_LOCATION}", **GOOD)
        mesh.wait_for(lambda: actual(connected).state == "live", what="the camera is live")
        yield connected
        cameras.webcam.refused_control = 0
        connected.stop_stream("cam")


def entry(app: Mesh) -> Any:
    return next(one for one in app.streams() if one.spec.stream == "cam")


def actual(app: Mesh) -> StreamActual:
    found = entry(app).actual
    assert isinstance(found, StreamActual)
    return found


def spec_of(app: Mesh) -> StreamSpec:
    found = entry(app).spec
    assert isinstance(found, StreamSpec)
    return found


def test_what_the_driver_refuses_while_it_runs_is_taken_back(app: Mesh, cameras: FakeCameras) -> None:
    before, spec = actual(app), spec_of(app)
    cameras.webcam.refused_control = EXPOSURE_ABSOLUTE_ID  # its range allows the value, the driver does not
    with pytest.raises(BadRequest, match=r"^controls\.exposure_time_absolute 103: the camera refuses it"):
        app.call("capture.cam.configure", profile=REFUSED)
    after = actual(app)
    assert (after.state, after.error) == ("live", None)
    assert (after.epoch, after.restarts) == (before.epoch, before.restarts), "it was not opened again"
    assert cameras.controls()["exposure_time_absolute"] == 101
    assert spec_of(app) == spec
    assert after.revision == entry(app).revision


def test_what_it_refuses_when_it_is_opened_is_taken_back(app: Mesh, mesh: RunningMesh, cameras: FakeCameras) -> None:
    spec = spec_of(app)
    with pytest.raises(BadRequest, match=r"^size '1000x1000': the camera has 640x480"):
        app.call("capture.cam.configure", profile={"size": "1000x1000"}, validate=False)
    assert spec_of(app) == spec
    mesh.wait_for(lambda: actual(app).state == "live", what="the picture is back")
    assert actual(app).error is None
    assert cameras.controls()["exposure_time_absolute"] == 101
    assert cameras.webcam.width == 640


def test_a_start_that_is_refused_shows_its_error_beside_the_picture(app: Mesh, cameras: FakeCameras) -> None:
    before = actual(app)
    cameras.webcam.refused_control = EXPOSURE_ABSOLUTE_ID
    with pytest.raises(BadRequest, match="the camera refuses it"):
        app.call("capture.start", stream="cam", source=f"v4l2://{WEBCAM_LOCATION}", **REFUSED)
    refused = actual(app)
    assert (refused.state, refused.epoch) == ("live", before.epoch)
    assert refused.error is not None
    assert refused.error.code == 400
    assert app.call("capture.cam.stats")["error"]["code"] == 400
    cameras.webcam.refused_control = 0
    app.call("capture.cam.configure", profile=GOOD)
    assert actual(app).error is None
    assert actual(app).epoch == before.epoch


def test_who_changes_it_meanwhile_wins(app: Mesh, mesh: RunningMesh, cameras: FakeCameras) -> None:
    """Taking back is a compare-and-set: a spec that somebody has written since stays."""
    cameras.webcam.refused_control = EXPOSURE_ABSOLUTE_ID

    async def both() -> list[Any]:
        bus = await Bus.connect(mesh.ready["nats"], name="test", timeout_seconds=3)
        configure = b'{"profile":{"size":"640x480","controls":{"auto_exposure":1,"exposure_time_absolute":103}}}'
        start = b'{"stream":"cam","source":"v4l2://%s","size":"640x480","rotate":180}' % WEBCAM_LOCATION.encode()
        try:
            return await asyncio.gather(
                bus.request_raw("mesh.v1.cmd.capture.cam.configure", configure),
                bus.request_raw("mesh.v1.cmd.capture.start", start),
                return_exceptions=True,
            )
        finally:
            await bus.drain()

    asyncio.run(both())
    mesh.wait_for(lambda: actual(app).state == "live" and actual(app).error is None, what="one of them is there")
    assert entry(app).spec.rotate == 180, "the start was accepted, and nothing takes it back"


def test_a_camera_that_cannot_be_asked_is_not_judged(app: Mesh, cameras: FakeCameras) -> None:
    cameras.webcam.denied = 1
    try:
        revision = entry(app).revision
        started = time.monotonic()
        with pytest.raises(Exception, match="validate false") as refused:
            app.call("capture.cam.configure", profile={"size": "640x480"})
        assert getattr(refused.value, "code", 0) == 503
        assert time.monotonic() - started < 8
        assert entry(app).revision == revision
    finally:
        cameras.webcam.denied = 0

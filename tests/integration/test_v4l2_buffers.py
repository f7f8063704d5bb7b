"""The driver's buffers by themselves, in a process that has the fake kernel boundary of `fake_v4l2.c`."""

from pathlib import Path

import pytest

from tests.support.v4l2 import FakeCameras, needs_gcc

pytestmark = [pytest.mark.integration, needs_gcc]

_FAIL_WHILE_A_PICTURE_IS_HELD = """
from pathlib import Path
from services.capture.v4l2.buffers import Buffers
from services.capture.v4l2.device import VideoDevice

def fail(buffers):
    assert buffers.wait(1)
    taken = buffers.take()
    raise ValueError

kept = None
with VideoDevice(Path("/dev/video12"), "camera") as device:
    device.set_format("GREY", 648, 486)
    try:
        with Buffers(device) as buffers:
            fail(buffers)
    except ValueError as error:
        kept = error
print(Path("/proc/self/maps").read_text().count("fake camera"))
"""


def test_an_error_does_not_keep_the_camera(tmp_path: Path) -> None:
    """A mapping that is left would keep the device in use for as long as somebody remembers the error."""
    cameras = FakeCameras(tmp_path)
    assert cameras.run_python(_FAIL_WHILE_A_PICTURE_IS_HELD) == "0\n"
    assert (cameras.sensor.opens, cameras.sensor.streaming) == (0, 0)
    cameras.close()

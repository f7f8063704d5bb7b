"""Cameras for processes that are started with `fake_v4l2.c` preloaded: a fake kernel boundary, and nothing above it.

The test drives the cameras through a file that both map: plugs and unplugs them, lets them fail, reads what was set.
"""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from ctypes import c_int32, c_uint8, c_uint32, c_uint64
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("fake_v4l2.c")
WEBCAM_LOCATION = "usb-0000:00:14.0-1.2"
SENSOR_LOCATION = "platform-fake-csi"
CONTROL_NAMES = (
    "brightness", "white_balance_automatic", "do_white_balance", "auto_exposure", "exposure_time_absolute", "privacy",
)  # fmt: skip
DEFAULTS = (0, 1, 0, 3, 251, 0, 0, 0)
EXPOSURE_ABSOLUTE_ID = 0x009A_0902
_CAMERAS = 2
_CONTROLS = 8
_STAMPS = 1024
_JPEG_BYTES = 1 << 20
_BUILD_SECONDS = 60
_NEAR_NS = 5_000_000
_USB = "devices/fake/0000:00:14.0/usb1/1-1/1-1.2"

_CAN_BUILD = shutil.which("gcc") and Path("/usr/include/linux/videodev2.h").exists()
needs_gcc = pytest.mark.skipif(
    not _CAN_BUILD and not os.environ.get("CI"), reason="gcc and linux/videodev2.h are not there; ops/test-programs.sh"
)


class CameraState(ctypes.Structure):
    """struct camera of fake_v4l2.c"""

    _fields_ = (
        *(
            (name, c_uint32)
            for name in (
                "node", "metadata_node", "plugged", "generation", "busy", "denied", "silent", "no_stamps", "mplane",
                "damage",
                "skip", "cut", "refused_control", "hanging", "jpeg_bytes", "streaming", "opens", "streamons", "format",
                "width", "height", "sequence", "set_count",
            )
        ),
        ("values", c_int32 * _CONTROLS),
        ("stamps_us", c_uint64 * _STAMPS),
        ("jpeg", c_uint8 * _JPEG_BYTES),
    )  # fmt: skip


def build(folder: Path) -> Path:
    """The library, compiled."""
    library = folder / "fake_v4l2.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"],
        check=True,
        timeout=_BUILD_SECONDS,
    )
    return library


class FakeCameras:
    """A webcam at a USB port (/dev/video10, metadata at /dev/video11) and a bare sensor (/dev/video12)."""

    def __init__(self, folder: Path) -> None:
        self._library = build(folder)
        self._sysfs = folder / "sys"
        self._state = folder / "cameras"
        with self._state.open("wb") as file:
            file.truncate(ctypes.sizeof(CameraState) * _CAMERAS)
        with self._state.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.webcam, self.sensor = (CameraState * _CAMERAS).from_buffer(self._map)
        self.webcam.values[:] = DEFAULTS
        self.set_jpeg(gradient())
        self.plug(self.webcam, 10, 11)
        self.plug(self.sensor, 12)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "FAKE_V4L2_STATE": str(self._state),
            "FAKE_V4L2_SYSFS": str(self._sysfs),
        }

    def plug(self, camera: CameraState, node: int, metadata_node: int = 0xFFFF) -> None:
        """Let it appear as these nodes; it has forgotten its settings."""
        self.unplug(camera)
        camera.node, camera.metadata_node = node, metadata_node
        webcam = ctypes.addressof(camera) == ctypes.addressof(self.webcam)
        device = f"{_USB}/1-1.2:1.0" if webcam else "devices/fake/fake-csi"
        _write(self._sysfs / _USB / "serial", "SN 42")
        _write(self._sysfs / _USB / "manufacturer", "Makers")
        for index, number in enumerate((node, metadata_node) if webcam else (node,)):
            folder = self._sysfs / device / "video4linux" / f"video{number}"
            _write(folder / "name", "Web Camera" if webcam else "Bare Sensor")
            _write(folder / "index", str(index))
            (folder / "device").symlink_to("../../../" + Path(device).name)
            link = self._sysfs / "class" / "video4linux" / f"video{number}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"../../{device}/video4linux/video{number}")
        camera.plugged = 1

    def unplug(self, camera: CameraState) -> None:
        camera.plugged = 0
        camera.generation += 1
        camera.streaming = 0
        webcam = ctypes.addressof(camera) == ctypes.addressof(self.webcam)
        shutil.rmtree(self._sysfs / (_USB if webcam else "devices/fake/fake-csi"), ignore_errors=True)
        for number in (camera.node, camera.metadata_node):
            (self._sysfs / "class" / "video4linux" / f"video{number}").unlink(missing_ok=True)

    def set_jpeg(self, data: bytes) -> None:
        """What the webcam sends as MJPG, whatever the size that was asked of it."""
        self.webcam.jpeg[: len(data)] = data
        self.webcam.jpeg_bytes = len(data)

    def controls(self) -> dict[str, int]:
        """Of the webcam, as they are set now; of the button how often it was pressed."""
        return dict(zip(CONTROL_NAMES, self.webcam.values, strict=False))

    def run_python(self, code: str, seconds: float = 20.0) -> str:
        """What a process that sees the cameras prints."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sequence_at(self, camera: CameraState, monotonic_ns: int) -> int:
        """Which picture the camera took nearest to this time, in this run of at most 1024 pictures.

        Raises:
            AssertionError: none within a third of the distance of two pictures at 60 a second.
        """
        stamps = np.frombuffer(camera.stamps_us, np.uint64).astype(np.int64)
        nearest = int(np.argmin(np.abs(stamps - monotonic_ns // 1000)))
        assert abs(int(stamps[nearest]) * 1000 - monotonic_ns) < _NEAR_NS
        return nearest

    def close(self) -> None:
        del self.webcam, self.sensor
        self._map.close()


def gradient(width: int = 640, height: int = 480, *, mirrored: bool = False) -> bytes:
    """A JPEG whose picture is light to the right and blue to the bottom, 4:2:2 as webcams have it."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj422p"
    encoder.time_base = Fraction(1, 30)
    rgb = gradient_rgb(width, height)[:, ::-1] if mirrored else gradient_rgb(width, height)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="yuvj422p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def gradient_rgb(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., :2] = np.linspace(0, 255, width)[None, :, None]
    picture[..., 2] = np.linspace(0, 255, height)[:, None]
    return picture


def pattern(width: int, height: int, sequence: int, mask: int = 255) -> NDArray[np.int64]:
    """What `draw` of fake_v4l2.c puts into picture number `sequence`; before it is fitted into a YUYV's range."""
    y, x = np.mgrid[:height, :width]
    result: NDArray[np.int64] = (x + 3 * y + 5 * sequence) & mask
    return result


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")

"""GenICam cameras for tests: aravis' GigE Vision camera in software, on loopback, as a process of its own."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from services.capture.genicam import gvcp

FAKE_CAMERA = "arv-fake-gv-camera-0.8"
ADDRESS = "127.0.0.1"
ENVIRONMENT = {"FRAMEMESH_CAPTURE_GENICAM_INTERFACES": ADDRESS}
_READY_SECONDS = 10.0


def missing() -> str:
    """Why such tests cannot run here; empty when they can."""
    if not shutil.which(FAKE_CAMERA):
        return "aravis-tools is not installed; see ops/test-programs.sh"
    return ""


class FakeCamera:
    """One camera: `Aravis-Fake-<serial>`, 512x512 Mono8 at 25 fps. There can be one at a time on this machine."""

    def __init__(self, serial: str = "GV01", *, lost_per_thousand: int = 0, description: Path | None = None) -> None:
        self.serial = serial
        self._command = [FAKE_CAMERA, "-i", ADDRESS, "-s", serial, "-r", str(lost_per_thousand)]
        if description:
            self._command += ["-g", str(description)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def source(self) -> str:
        return f"genicam://{self.serial}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            found = gvcp.ask(ADDRESS, 0.2)
            if found and found.serial == self.serial:
                return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"{FAKE_CAMERA} did not answer within {_READY_SECONDS} s")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def running(self) -> Iterator["FakeCamera"]:
        self.start()
        try:
            yield self
        finally:
            self.kill()

    @staticmethod
    def register(address: int) -> int:
        """What is in a register of the camera now, read beside whoever controls it."""
        value = gvcp.read_register(ADDRESS, address, 1.0)
        assert value is not None
        return value

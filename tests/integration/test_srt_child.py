"""The ffmpeg child of an srt:// source: its command line tells nobody the passphrase, and it never outlives capture."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mesh import CallFailed, RunningMesh
from tests.support.peers import wait_until
from tests.support.processes import children
from tests.support.senders import SrtListener

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

PASSPHRASE = "it's-a-l0ng-passphrase"
STREAM_ID = "publish:s3cret-stream"
LIVE_SECONDS = 8.0
GONE_SECONDS = 2.0


class GuardedSrtListener(SrtListener):
    """Takes nobody who does not know the passphrase."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asks = f"&passphrase={PASSPHRASE}&pbkeylen=16"
        self.url += f"?pbkeylen=16&passphrase={PASSPHRASE}&streamid={STREAM_ID}"


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _streams(mesh: RunningMesh) -> object:
    with contextlib.suppress(CallFailed):  # nobody answers yet
        return mesh.call("capture.list")["streams"]
    return None


def test_the_child_hides_its_url_and_dies_with_capture(mesh: RunningMesh, tmp_path: Path) -> None:
    sender = GuardedSrtListener(tmp_path)
    with sender.sending():
        mesh.call("capture.start", stream="cam0", source=sender.url, wait_s=0)
        mesh.wait_for(
            lambda: (mesh.actual("streams", "cam0") or {}).get("state") == "live", LIVE_SECONDS, "cam0 is live"
        )
        actual = mesh.actual("streams", "cam0")
        assert (actual["video"]["width"], actual["video"]["height"]) == sender.size
        assert actual["audio"] is not None
        capture = mesh.pids()["capture"]
        (child,) = children(capture)
        command = Path(f"/proc/{child}/cmdline").read_text()
        assert "ffmpeg" in command
        environment = Path(f"/proc/{child}/environ").read_text()
        for secret in (PASSPHRASE, STREAM_ID):
            assert secret not in command + environment + mesh.log.read_text()
        os.kill(capture, signal.SIGKILL)
        wait_until(lambda: not runs(child), GONE_SECONDS, "the child has ended with capture")
    mesh.wait_for(lambda: _streams(mesh), what="capture is back")


def test_a_wrong_passphrase_is_an_error_without_it(mesh: RunningMesh, tmp_path: Path) -> None:
    sender = GuardedSrtListener(tmp_path)
    with sender.sending():
        wrong = sender.url.replace(PASSPHRASE, "another-l0ng-passphrase")
        mesh.call("capture.start", stream="cam1", source=wrong, wait_s=0)
        error = mesh.wait_for(lambda: (mesh.actual("streams", "cam1") or {}).get("error"), LIVE_SECONDS, "an error")
    assert error["code"] == 503
    assert "another-l0ng" not in error["message"]
    assert STREAM_ID not in error["message"]
    print(error["message"])

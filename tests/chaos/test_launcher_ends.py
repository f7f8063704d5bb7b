"""However the launcher ends, nothing is left behind; and the next `up` goes on where the last one was."""

import os
import signal
import subprocess
import time
from pathlib import Path

import av
import pytest

from tests.support.mesh import FRAMEMESH, RunningMesh, bunny

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

STREAM = "cam0"
ENDS_SECONDS = 10.0
ORPHANS_END_SECONDS = 10.0


def _record(mesh: RunningMesh) -> None:
    mesh.call("publisher.start", stream=STREAM, output="rec", to="file://rec/{start}.mp4", wait_s=10)
    mesh.wait_for(lambda: (mesh.actual("outputs", STREAM, "rec") or {}).get("bytes_written"), 10, "a recording")


def _playable(mesh: RunningMesh) -> list[float]:
    """Seconds of each recording, decoded to its end."""
    lengths = []
    for path in sorted((mesh.media_dir / "rec").glob("*.mp4")):
        with av.open(path) as container:
            times = [frame.time or 0.0 for frame in container.decode(video=0)]
            lengths.append(times[-1] - times[0])
    return lengths


def _alive(pids: dict[str, int]) -> list[str]:
    return [name for name, pid in pids.items() if _state(pid) not in ("gone", "Z")]


def _state(pid: int) -> str:
    """As in proc(5); Z is a process that has ended and whose new parent has not noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "gone"


def _left_in_memory(mesh: RunningMesh) -> list[str]:
    return sorted(path.name for path in mesh.shm_dir.parent.rglob("*"))


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.long),  # every mesh of a test ends so, and must leave nothing
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),
    ],
)
def test_a_signal_ends_everything_in_order(number: signal.Signals, tmp_path: Path) -> None:
    environment = {"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(tmp_path)}
    with RunningMesh("--source", str(bunny()), environment=environment) as mesh:
        _record(mesh)
        output = tmp_path / "do1"
        output.touch()
        mesh.call("io-signal.start", signal="do1", mode="io", address=f"file://{output}")
        mesh.call("io-signal.on", signal="do1")
        began, pids = time.monotonic(), mesh.pids()
        assert len(pids) == 9  # the bus, the fork server, and seven services
        assert mesh.process is not None
        mesh.process.send_signal(number)
        assert mesh.process.wait(ENDS_SECONDS) == 0
        seconds = time.monotonic() - began
        print(f"{number.name}: ended in {seconds:.2f} s")
        assert not _alive(pids)
        assert output.read_text() == "0", "its safe state"
        assert not _left_in_memory(mesh)
        assert len(lengths := _playable(mesh)) == 1
        assert lengths[0] > 0.9 * (seconds if seconds < 1 else 1), "closed with what had come"


@pytest.mark.parametrize("after_seconds", [0.3, 0.8, 1.3])
def test_a_signal_while_starting(after_seconds: float, tmp_path: Path) -> None:
    mesh = RunningMesh(folder=tmp_path)
    try:
        command = [*FRAMEMESH, "up", "--auto-ports"]
        process = subprocess.Popen(command, env=mesh.environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(after_seconds)  # the point is to hit different phases of the start
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=ENDS_SECONDS)
        assert process.returncode in (0, -signal.SIGTERM), complaints  # -15: before Python could take signals
        assert b"Traceback" not in complaints
        assert not _left_in_memory(mesh)
        assert not _processes_of(mesh.environment["FRAMEMESH_DATA_DIR"])
    finally:
        mesh._clean()


def _processes_of(data_dir: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"FRAMEMESH_DATA_DIR={data_dir}\0".encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has just ended
            continue
    return found


def test_a_killed_launcher_leaves_nothing_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with RunningMesh("--source", str(bunny()), folder=tmp_path) as mesh:
        _record(mesh)
        mesh.call("hw-encode.start", stream=STREAM, rendition="low", bitrate="500k")
        asked = [(one["revision"], one["spec"]) for kind in ("streams", "outputs") for one in mesh.status()[kind]]
        pids = mesh.pids()
        assert mesh.process is not None
        began = time.monotonic()
        os.kill(mesh.process.pid, signal.SIGKILL)
        mesh.process.wait()
        mesh.wait_for(lambda: not _alive(pids), ORPHANS_END_SECONDS, f"end of {pids}")
        print(f"launcher killed: services and bus ended in {time.monotonic() - began:.2f} s")
        assert not mesh.rings(), "services that end take their rings away"
        recorded = len(_playable(mesh))
        assert recorded == 1

        mesh._arguments = ()  # nothing is said again: what was asked for is on disk
        mesh.start()
        mesh.wait_for(lambda: (mesh.actual("streams", STREAM) or {}).get("state") == "live", 10, "the stream")
        mesh.wait_for(lambda: (mesh.actual("outputs", STREAM, "rec") or {}).get("state") == "running", 10, "the output")
        again = [(one["revision"], one["spec"]) for kind in ("streams", "outputs") for one in mesh.status()[kind]]
        assert again == asked
        assert mesh.actual("renditions", STREAM, "low")["state"] == "idle"
        assert len(list((mesh.media_dir / "rec").glob("*.mp4"))) == 2, "a second file; the first is left alone"


@pytest.mark.long
def test_everything_killed_at_once_is_swept_by_the_next_up(tmp_path: Path) -> None:
    with RunningMesh("--source", str(bunny()), folder=tmp_path) as mesh:
        mesh.call("hw-encode.start", stream=STREAM, rendition="main", always=True)
        mesh.wait_for(lambda: len(mesh.rings()) == 3, 10, "rings")
        pids = mesh.pids()
        assert mesh.process is not None
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)  # or the launcher's end would tell them to clean up in the moment before
        for pid in (mesh.process.pid, *pids.values()):
            os.kill(pid, signal.SIGKILL)
        mesh.process.wait()
        mesh.wait_for(lambda: not _alive(pids), 5, "the end")
        orphans = mesh.rings()
        assert len(orphans) == 3, "the test wants something to sweep"
        mesh.start()
        mesh.wait_for(lambda: len(mesh.rings()) == 3 and not set(orphans) & set(mesh.rings()), 10, "new rings only")


def test_a_second_up_in_the_same_folders_is_refused(tmp_path: Path) -> None:
    with RunningMesh("--source", str(bunny()), folder=tmp_path) as mesh:
        mesh.wait_for(lambda: (mesh.actual("streams", STREAM) or {}).get("state") == "live", 10, "the stream")
        configuration = (tmp_path / "data/nats/nats.conf").read_text()
        environment = {key: value for key, value in mesh.environment.items() if key != "FRAMEMESH_NATS_URL"}
        second = subprocess.run(
            [*FRAMEMESH, "up", "--auto-ports"], env=environment, capture_output=True, text=True, timeout=20
        )
        assert second.returncode == 1
        lines = [line for line in second.stderr.splitlines() if line != "starting …"]
        assert len(lines) == 1, second.stderr
        assert lines[0].startswith("error 409: a mesh already runs here")
        assert "FRAMEMESH_DATA_DIR" in lines[0]
        assert (tmp_path / "data/nats/nats.conf").read_text() == configuration
        assert len(mesh.pids()) == 9
        assert mesh.actual("streams", STREAM)["state"] == "live"
        third = subprocess.run(
            [*FRAMEMESH, "up", "--auto-ports", "--nats", mesh.ready["nats"]],
            env=environment, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert third.returncode == 1
        lines = [line for line in third.stderr.splitlines() if line != "starting …"]
        assert len(lines) == 1, third.stderr
        assert "already runs on node test" in lines[0]
        assert {path.name for path in mesh.shm_dir.glob(".*.lock")} == {
            f".{service}.test.lock" for service in mesh.ready["metrics"]
        }, "the locks of the mesh that runs are not taken away"

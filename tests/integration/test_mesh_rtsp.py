"""RTSP out of a whole mesh: found by its URL, made while somebody pulls, with sound, and there again after a kill."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from shared.media import timecode
from tests.support.content import decode, sync_errors
from tests.support.mesh import RunningMesh, bunny
from tests.support.metrics import total
from tests.support.nats import NatsServer
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

_NOTICED_SECONDS = 0.040  # of sound beside its picture (ITU-R BT.1359)
_SOON = {"fflags": "nobuffer", "analyzeduration": "200000"}  # libav looks at a second and more of pictures else
_LATE_MS = 1_000  # a machine that runs other tests, a player that probes: far less than a wrong clock would show


@pytest.mark.alone  # it judges times
def test_a_mesh_is_pulled_from(tmp_path: Path) -> None:
    with RunningMesh(environment={"FRAMEMESH_HW_ENCODE_IDLE_SECONDS": "0.5"}) as mesh:
        shutil.copy(bunny(), mesh.media_dir / "bunny.mp4")
        mesh.call("capture.start", stream="film", source=f"file://{mesh.media_dir}/bunny.mp4")
        mesh.call("capture.start", stream="clock", source="test://?size=384x216&fps=25", timecode=True)
        url = mesh.ready["rtsp"]
        recorder = _record(f"{url}film", tmp_path / "film.mkv", 6)  # the whole clip: some of it shows no clear time
        assert any(service["rtsp_url"] == url for service in mesh.status()["services"] if "rtsp_url" in service)
        assert f"PULL      {url}<stream>" in mesh.run("status").stdout

        shown = _clock_errors_ms(f"{url}clock", "udp")
        assert len(shown) == 20
        assert -50 < min(shown) <= max(shown) < _LATE_MS
        with av.open(f"{url}film/source", options={"rtsp_transport": "udp"}, timeout=10) as container:
            assert (container.streams.video[0].width, container.streams.video[0].codec_context.name) == (1280, "h264")
            assert container.streams.audio[0].codec_context.name == "aac"
        assert recorder.wait(20) == 0

        metrics = mesh.ready["metrics"]["publisher"]
        assert total(metrics, "framemesh_publisher_rtsp_packets_total") > 100
        killed = time.monotonic()
        mesh.kill("publisher")
        mesh.wait_for(lambda: _pictures_again(f"{url}clock"), 20, "RTSP is served at the same place again")
        print(f"pictures again {time.monotonic() - killed:.2f} s after a kill")
        # Close steps: at some phases of the clip every half second meets a picture that looks like its neighbour.
        errors = sync_errors(decode(tmp_path / "film.mkv"), decode(bunny()), step_seconds=0.1)
        assert errors, "some half second tells the time of its pictures and of its sound"
        assert max(map(abs, errors)) < _NOTICED_SECONDS, errors
        mesh.wait_for(
            lambda: mesh.actual("renditions", "film", "main")["state"] == "idle", 20, "nothing is made for nobody"
        )


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"RTSP_PORT": "taken"}, 2, "RTSP port TAKEN on 127.0.0.1: "),
        ({"BIND": "0.0.0.0", "RTSP_PORT": "0"}, 0, "RTSP is served to this machine only"),
    ],
)
def test_settings_that_cannot_be_kept(
    nats: NatsServer, tmp_path: Path, settings: dict[str, str], code: int, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = {f"FRAMEMESH_PUBLISHER_{name}": port if value == "taken" else value for name, value in settings.items()}
        environment = {
            **os.environ,
            "FRAMEMESH_NATS_URL": nats.url,
            "FRAMEMESH_SHM_DIR": str(tmp_path / "shm"),
            "FRAMEMESH_DATA_DIR": str(tmp_path / "data"),
            "FRAMEMESH_PUBLISHER_METRICS_PORT": str(free_port()),
            **given,
        }
        command = [sys.executable, "-m", "services.publisher"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as publisher:
            assert publisher.stderr is not None
            text = ""
            for line in publisher.stderr:
                text += line
                if "ready on node" in line:
                    publisher.terminate()
            assert publisher.wait(10) == code
    assert said.replace("TAKEN", port) in text


def _record(url: str, target: Path, seconds: float) -> "subprocess.Popen[bytes]":
    command = f"ffmpeg -v error -rtsp_transport tcp -i {url} -t {seconds} -c copy -y {target}"
    return subprocess.Popen(command.split(), stdin=subprocess.DEVNULL)


def _clock_errors_ms(url: str, transport: str, pictures: int = 20) -> list[int]:
    """How late each picture is shown, by the clock that is burnt into it."""
    errors = []
    with av.open(url, options={"rtsp_transport": transport, **_SOON}, timeout=10) as container:
        for frame in container.decode(video=0):
            now_ms = time.time_ns() // 1_000_000
            burnt = timecode.read(frame.to_ndarray(format="gray"), now_ms)
            assert burnt is not None
            errors.append(now_ms - burnt)
            if len(errors) == pictures:
                return errors
    return errors


def _pictures_again(url: str) -> bool:
    try:
        return len(_clock_errors_ms(url, "tcp", 5)) == 5
    except (av.error.FFmpegError, OSError):
        return False

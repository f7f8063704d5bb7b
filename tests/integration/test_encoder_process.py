"""Encoders in processes of their own: killed and hung in a running mesh, and refused where no hardware is."""

import asyncio
import itertools
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import PictureType, VideoFrame
from msgspec.structs import replace

from schemas.resources import RenditionSpec
from services.hw_encode import encoder_child
from services.hw_encode.codecs import Codecs
from services.hw_encode.kinds import ENCODERS
from services.hw_encode.libav_codec import TIME_BASE, Codec, EncoderFailed
from tests.support.client import Viewer, async_client
from tests.support.encoder import SPEC, Bench
from tests.support.mesh import RunningMesh
from tests.support.metrics import total
from tests.support.peers import wait_until

pytestmark = pytest.mark.integration

WIDTH, HEIGHT = 320, 180
_FAULTY = Path(__file__).parents[1] / "support/faulty_encoder"
_KILLS = 5 if os.environ.get("FRAMEMESH_TEST_LONG") else 3
_BETWEEN_KILLS_SECONDS = 1.2  # an encoder that dies within 1 s is not started again at once
_MOST_PICTURES_LOST_PER_KILL = 2
_MODULE = "services.hw_encode.encoder_process"


def opened(codecs: Codecs, name: str = "libx264") -> Codec:
    kind = next(kind for kind in ENCODERS if kind.name == name)
    return codecs.open(kind, RenditionSpec(stream="cam0", codec=kind.codec, bitrate="1M"), WIDTH, HEIGHT, 30.0)


def picture(number: int, pixel_format: str = "yuv420p") -> VideoFrame:
    array = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    array[:HEIGHT] = np.arange(WIDTH) // 2 + number * 5
    frame = VideoFrame.from_ndarray(array, format=pixel_format)
    frame.pts, frame.time_base = number * 3000, TIME_BASE
    frame.pict_type = PictureType.NONE if number else PictureType.I
    return frame


@pytest.mark.parametrize("name", ["libx264", "libx265", "mjpeg"])
def test_a_process_gives_the_same_packets(name: str) -> None:
    results = []
    form = next(kind.pixel_format for kind in ENCODERS if kind.name == name)
    for isolate in ("none", "all"):
        codecs = Codecs(isolate)  # type: ignore[arg-type]
        codec = opened(codecs, name)
        results.append([packet for number in range(8) for packet in codec.encode(picture(number, form))])
        results[-1] += codec.finish()
        codecs.close()
    assert len(results[0]) == 8
    assert results[0] == results[1]


def test_a_process_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_child, "_PICTURE_SECONDS", 0.5)
    codecs = Codecs("all")
    codec = opened(codecs)
    assert isinstance(codec, encoder_child.EncoderChild)
    assert codec.encode(picture(0))
    os.kill(codec.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(EncoderFailed, match=r"hung: no answer within 0\.5 s") as failed:
        codec.encode(picture(1))
    assert failed.value.died
    assert time.monotonic() - began < 2.0
    assert not os.path.exists(f"/proc/{codec.pid}")
    codecs.close()


def test_a_process_refuses_what_does_not_work_here_and_leaves_nothing() -> None:
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    codecs = Codecs("hardware")
    with pytest.raises(EncoderFailed, match=r"."):
        opened(codecs, "h264_nvenc")
    codecs.close()
    time_limit = time.monotonic() + 5
    # Fewer where something of an earlier test ends meanwhile.
    while len(os.listdir("/proc/self/fd")) > descriptors or threading.active_count() > threads:
        assert time.monotonic() < time_limit
        time.sleep(0.02)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as path:
        yield Path(path) / "rings"


def test_no_picture_is_held_while_no_encoder_works(folder: Path) -> None:
    codecs = Codecs("all")
    bench = Bench(folder, replace(SPEC, encoder="software"), codecs=codecs)
    bench.write(60)
    process = bench.encoder._encoder._codec
    assert isinstance(process, encoder_child.EncoderChild)
    os.kill(process.pid, signal.SIGKILL)  # so soon after its start that it is not started again at once
    bench.put(61)
    wait_until(lambda: bool(bench.failures), 5, "no encoder")
    assert bench.failures[0].endswith("libx264: failed in use: its process ended by SIGKILL")
    wait_until(lambda: not bench.reader.held, 1, "the picture's slot free again")
    bench.close()
    codecs.close()


def encoder_pids(service: int) -> list[int]:
    """The encoders' processes of that service, the one at work first: only its encoder has threads."""
    found = subprocess.run(["pgrep", "-P", str(service), "-f", _MODULE], capture_output=True, text=True).stdout
    return sorted(map(int, found.split()), key=_threads, reverse=True)


def _threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def service_pid(mesh: RunningMesh) -> int:
    return mesh.pids()["hw-encode"]


def held(pid: int) -> tuple[int, int]:
    """Descriptors and threads."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.alone
async def test_viewers_and_recordings_carry_on_when_the_encoder_is_killed() -> None:
    with RunningMesh(environment={"FRAMEMESH_HW_ENCODE_ISOLATE": "all"}) as mesh:
        async with (
            async_client(mesh) as app,
            app.events(service="hw-encode") as events,
            Viewer.watching(mesh, "cam0") as viewer,
        ):
            await app.start_stream("cam0", "test://?size=384x216&fps=30")
            # Pictures that come while a process takes over wait; without, those of 50 ms are passed over.
            await app.start_rendition("cam0", queue=6)
            await app.call("publisher.start", stream="cam0", output="archive", to="file://a.mp4")
            await viewer.until(30)
            begun = len(viewer.sequences)
            service = service_pid(mesh)
            before = held(service)
            for _ in range(_KILLS):
                await asyncio.sleep(_BETWEEN_KILLS_SECONDS)
                os.kill(encoder_pids(service)[0], signal.SIGKILL)
                async with asyncio.timeout(5):
                    event = await anext(found async for found in events if found.event == "encoder-restarted")
                assert event.detail["encoder"] == "libx264"
                assert "SIGKILL" in event.detail["reason"]
            await viewer.until(len(viewer.pictures) + 30)
            assert held(service) == before
            await app.call("publisher.stop", stream="cam0", output="archive")
            metrics = mesh.ready["metrics"]["hw-encode"]
            assert total(metrics, "framemesh_hw_encode_restarts_total") == _KILLS
        gaps = [later - one - 1 for one, later in itertools.pairwise(viewer.sequences[begun:]) if later != one + 1]
        print("pictures lost per gap:", gaps, "of", len(viewer.sequences))
        assert min(gaps, default=0) >= 0, "no packet twice"
        assert max(gaps, default=0) <= _MOST_PICTURES_LOST_PER_KILL, gaps
        file = mesh.media_dir / "a.mp4"
        command = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "null", "-"]
        played = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert (played.returncode, played.stderr) == (0, "")

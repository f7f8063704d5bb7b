"""What may happen to a source in the middle and must not end it: another form of sound, settings that change."""

import fcntl
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from schemas.resources import StreamSpec
from services.capture.settings import CaptureSettings
from services.capture.sources.container import ContainerPlayer
from services.capture.sources.images import ImagesSource
from services.capture.sources.srt import _Pipe
from services.capture.stillness import Stillness
from shared.media.pacing import Pacer

pytestmark = pytest.mark.unit

_MANY = 1100  # descriptors: above what select() knows
SPEC = StreamSpec(stream="cam0", source="file:///joined.ts")


class Sink:
    """Stands where the ring is: counts what comes."""

    wants_raw = wants_sound = True
    stillness: Any = None

    def __init__(self) -> None:
        self.pictures = self.samples = 0
        self.peaks: list[int] = []
        self.dropped: Counter[str] = Counter()

    def frame(self, _frame: av.VideoFrame, **_: Any) -> None:
        self.pictures += 1

    def sound(self, samples: Any, **_: Any) -> None:
        self.samples += samples.shape[0]
        self.peaks.append(int(np.abs(samples).max()))

    def packet(self, *_: Any, **__: Any) -> None:
        """Not looked at here."""

    live = lost = decoding = arrived = heard = packet


def sound_and_picture(path: Path, rate: int, layout: str) -> bytes:
    """A second of MPEG-TS."""
    with av.open(str(path), "w", format="mpegts") as file:
        video = file.add_stream("libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        audio = file.add_stream("aac", rate=rate, layout=layout)
        channels = 1 if layout == "mono" else 2
        for number in range(25):
            picture = av.VideoFrame.from_ndarray(np.full((180, 160), 9 * number, np.uint8), format="yuv420p")
            file.mux(video.encode(picture))
            tone = np.sin(np.arange(rate // 25) * 440 * 2 * np.pi / rate).astype(np.float32) * 0.5
            block = av.AudioFrame.from_ndarray(np.tile(tone, (channels, 1)), format="fltp", layout=layout)
            block.sample_rate, block.pts = rate, number * (rate // 25)
            file.mux(audio.encode(block))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
    return path.read_bytes()


def test_sound_that_goes_on_in_another_form(tmp_path: Path) -> None:
    joined = tmp_path / "joined.ts"
    joined.write_bytes(
        sound_and_picture(tmp_path / "a.ts", 44_100, "mono") + sound_and_picture(tmp_path / "b.ts", 48_000, "stereo")
    )
    sink: Any = Sink()
    with av.open(str(joined)) as container:
        ContainerPlayer(container, SPEC, "joined.ts", paced=True).play(sink, threading.Event())
    assert sink.pictures == 50
    assert abs(sink.samples - 2 * 48_000) < 6_000
    assert min(sink.peaks[3:40]) > 8_000
    assert min(sink.peaks[55:-3]) > 8_000


class AtOnce(Pacer):
    """Waits for nothing, and knows what it was asked to wait for."""

    newest_ns = 0

    def wait(self, media_ns: int, stop: threading.Event) -> bool:
        self.newest_ns = max(self.newest_ns, media_ns)
        return not stop.is_set()


class Times(Sink):
    """When pictures are to be seen, and how long after that they come."""

    def __init__(self, pacer: AtOnce) -> None:
        super().__init__()
        self._pacer = pacer
        self.times: list[int] = []
        self.decoded: list[int] = []
        self.late: list[int] = []

    def frame(self, _frame: av.VideoFrame, *, pts_ns: int, **_: Any) -> None:
        self.times.append(pts_ns)
        self.late.append(self._pacer.newest_ns - pts_ns)

    def packet(self, *_: Any, track: str, dts_ns: int, **__: Any) -> None:
        if track == "video":
            self.decoded.append(dts_ns)


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_a_file_with_b_frames_is_even_over_its_turns(tmp_path: Path, suffix: str, sound: bool) -> None:
    path = tmp_path / f"turns.{suffix}"
    with av.open(str(path), "w") as file:  # Matroska tells no decoding times: its reader has none of the first ones
        video = file.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "2", "b-adapt": "0"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        audio = file.add_stream("mp2", rate=48_000, layout="mono") if sound else None
        for number in range(25):
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.full((180, 160), 9 * number, np.uint8), "yuv420p")))
            if audio is not None:
                block = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), format="s16", layout="mono")
                block.sample_rate, block.pts = 48_000, number * 1920
                file.mux(audio.encode(block))
        file.mux(video.encode(None))
        if audio is not None:
            file.mux(audio.encode(None))
    pacer = AtOnce()
    sink: Any = Times(pacer)
    with av.open(str(path)) as container:
        player = ContainerPlayer(container, SPEC, path.name, paced=True, pacer=pacer)
        for _ in range(3):
            player.play(sink, threading.Event())
            player.rewind()
    assert sink.decoded == sorted(set(sink.decoded)), "who writes files needs them to grow"
    steps = np.diff(sink.times) / 1e6
    assert len(sink.times) == 75
    assert steps[:24] == pytest.approx(40, abs=1)
    assert steps[25:49] == pytest.approx(40, abs=1)
    assert steps[[24, 49]] == pytest.approx(40, abs=25), "a frame of sound may reach beyond the last picture"
    # A file's own order may have sound first; the last ones wait in the decoder until it has ended.
    late = [ns / 1e6 for number, ns in enumerate(sink.late) if number % 25 < 20]
    assert max(late) <= (60 if suffix == "ts" else 1), "each is there when it is to be seen"


def test_pictures_of_a_few_lines_can_be_compared() -> None:
    now = [0.0]
    stillness = Stillness("raw", lambda: None, clock=lambda: now[0])
    for shape in ((2, 640), (640, 2), (2, 2), (4000, 8)):
        picture = np.zeros(shape, np.uint8)
        stillness.compare(picture)
        since = now[0]
        now[0] += 1
        stillness.compare(picture)
        assert stillness.seconds >= now[0] - since
        stillness.compare(picture + 200)
        assert stillness.seconds == 0


def test_frozen_after_is_taken_away_while_a_folder_is_looked_at(tmp_path: Path) -> None:
    """The event loop takes it away between two looks of the source's thread."""

    class Fickle(Sink):
        wants_raw = False
        stop = threading.Event()
        looks = 0

        @property
        def stillness(self) -> Any:  # type: ignore[override]
            self.looks += 1
            if self.looks > 6:
                self.stop.set()
            return Stillness("images", lambda: None) if self.looks % 2 else None

    (tmp_path / "a.png").write_bytes(picture_file())
    spec = StreamSpec(stream="cam0", source="images:///*.png?fps=200")
    source = ImagesSource(spec, f"images://{tmp_path}/*.png?fps=200", CaptureSettings(file_roots=(tmp_path,)))
    sink: Any = Fickle()
    threading.Timer(8, sink.stop.set).start()
    source.run(sink, sink.stop)
    assert sink.looks > 6


def picture_file() -> bytes:
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 32, 32, "rgb24"
    frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def test_a_child_is_read_in_a_process_of_many_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _MANY + 100:
        pytest.skip("so many descriptors are not allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _MANY + 100), hard))
    try:
        command = [sys.executable, "-c", "import os; os.write(1, b'sent\\n')"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            high = fcntl.fcntl(child.stdout.fileno(), fcntl.F_DUPFD_CLOEXEC, _MANY)
            with os.fdopen(high, "rb") as moved:
                child.stdout.close()
                child.stdout = moved
                began = time.monotonic()
                assert _Pipe(child, 10, 10, threading.Event()).read(100) == b"sent\n"
                assert time.monotonic() - began < 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

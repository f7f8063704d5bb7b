"""A full mesh on two cores: four streams, a mix, two encodes, three outputs, viewers, jobs, a signal and an input."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from schemas.service_table import BY_NAME
from services.launcher.fleet.processes import SERVICES
from tests.chaos.full_load import pictures
from tests.chaos.full_load.flows import read_seen
from tests.chaos.full_load.machine import INPUT, KEEP_SECONDS, SIGNAL, Output
from tests.chaos.full_load.observer import MIX, SEEN, STREAMS, Told
from tests.support.extractors import make_clip
from tests.support.mesh import RunningMesh
from tests.support.nats import NatsServer
from tests.support.pace import Patience, slowness
from tests.support.peers import free_port, rtmp_server
from tests.support.silent_proxy import SilentProxy
from tests.support.stepped_clock import SteppedClocks

DATA_BYTES: Final = 256 << 20
"""The data folder's file system: ten minutes of recordings at 0.8 Mbit/s are 60 MB, HLS and pictures a few."""
MIN_FREE_BYTES: Final = 16 << 20
"""Of it: no new file is begun on less."""
SHM_BYTES: Final = 128 << 20
"""Five rings of 640x360 are some 20 MiB, packet rings a few; while a service restarts there are two of each."""
STEPPED: Final = ("capture", "publisher", "io-signal")
"""Services whose clock is stepped: who stamps pictures, who names files by the time, who keeps times."""
_SIZE: Final = f"{pictures.WIDTH}x{pictures.HEIGHT}"
_MIX_FPS: Final = 15
_ENCODED: Final = {"bitrate": "800k", "key_interval": "1s", "encoder": "software", "wait_s": 10}
_RECORDED: Final = {"segment": "10s", "keep_bytes": "100M", "wait_s": 10}
_UP_SECONDS: Final = 40.0
_END_SECONDS: Final = 90.0  # of the observer, which waits for the last jobs


class FullLoad:
    """Use as a context manager, as root; at the end nothing of it is left."""

    def __init__(self, *, browser: bool) -> None:
        self.slowness = slowness()
        self._browser = browser
        self._stack = contextlib.ExitStack()
        self._application: subprocess.Popen[bytes] | None = None
        self._observer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._set_up()
            self._ask()
            self._observe()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _set_up(self) -> None:
        stack = self._stack
        self.folder = Path(tempfile.mkdtemp(prefix="framemesh-load-"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.nats = stack.enter_context(NatsServer())
        self.cables = stack.enter_context(SilentProxy(self.nats.port, *SERVICES))
        self.clocks = SteppedClocks(self.folder / "clocks", *STEPPED)
        stack.enter_context(_small_disk(self.folder / "data", DATA_BYTES))
        environment = {
            **{
                f"{BY_NAME[service].environment_prefix}NATS_URL": f"nats://127.0.0.1:{port}"
                for service, port in self.cables.ports.items()
            },
            **self.clocks.environment,
            "FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": str(MIN_FREE_BYTES),
            "FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(self.folder),
            # As short as they may be: a worker that is killed shall not be the slowest thing of all.
            "FRAMEMESH_FRAME_EXTRACTOR_GIVE_UP_SECONDS": "2",
            "FRAMEMESH_FRAME_EXTRACTOR_ATTEMPTS": "20",
        }
        self.mesh = RunningMesh("--nats", self.nats.url, environment=environment, folder=self.folder)
        stack.enter_context(_small_disk(self.mesh.shm_dir.parent, SHM_BYTES))
        stack.enter_context(self.mesh)
        self.rtmp = stack.enter_context(rtmp_server(self.folder / "rtmp"))

    def _ask(self) -> None:
        mesh = self.mesh
        for stream in STREAMS[:-1]:
            mesh.call(
                "capture.start",
                stream=stream,
                source=f"test://?size={_SIZE}&fps={pictures.FPS}&timecode=1",
                audio=False,
                wait_s=10,
            )
        mesh.call("capture.start", stream=pictures.STREAM, source="app://", audio=False, wait_s=0)
        self.begin_application()
        self._stack.callback(self.end_application)
        inputs = [{"input": stream, "source": f"mesh://{stream}"} for stream in STREAMS]
        mesh.call("cloud-mix-proxy.create", mix=MIX, inputs=inputs, size=_SIZE, fps=_MIX_FPS, sound=False, wait_s=10)
        for stream in (STREAMS[0], MIX):
            mesh.call("hw-encode.start", stream=stream, rendition="main", **_ENCODED)
        outputs = {
            (STREAMS[0], "rec"): {"to": "file://rec/{start:%Y%m%d-%H%M%S}.mp4", **_RECORDED},
            (STREAMS[0], "hls"): {"to": "file://hls/cam0.m3u8", "keep_for": "10s", "wait_s": 10},
            (MIX, "push"): {"to": self.rtmp.url, "wait_s": 10},
        }
        for (stream, output), fields in outputs.items():
            mesh.call("publisher.start", stream=stream, output=output, **fields)
        self._hold = self.folder / "hold"
        self.line = self.folder / "do1"
        self.line.touch()
        self.input_port = free_port()
        keep = f"{round(KEEP_SECONDS * 1e3)}ms"
        mesh.call("io-signal.start", signal=SIGNAL, mode="io", address=self.line.as_uri(), keep=keep, bus_lost="2s")
        address = f"tcp://127.0.0.1:{self.input_port}"
        mesh.call("io-signal.start-input", input=INPUT, mode="tcp", address=address, value="text")

    def _observe(self) -> None:
        assert self.mesh.process is not None
        clip = make_clip(self.mesh.media_dir / "clip.mp4", 1.0)
        told = Told(
            nats_url=self.nats.url,
            shm_dir=str(self.mesh.shm_dir),
            console=self.mesh.console,
            clip=str(clip),
            pictures=str(self.folder / "data" / "pictures"),
            output=str(self.line),
            hold=str(self._hold),
            input_port=self.input_port,
            launcher=self.mesh.process.pid,
            services=tuple(SERVICES),
            browser=self._browser,
            slowness=self.slowness,
        )
        path = self.folder / "told.json"
        path.write_bytes(msgspec.json.encode(told))
        with (self.folder / "observer.log").open("wb") as log:
            command = [sys.executable, "-m", "tests.chaos.full_load.observer", str(path)]
            self._observer = subprocess.Popen(command, stderr=log, stdout=log)
        self._stack.callback(self._end_observer)
        patience = Patience(_UP_SECONDS)
        while not self._all_flow():
            assert not patience.is_over(), f"the load does not come up: {self.still_missing()}\n{self.log_tail()}"
            time.sleep(0.1)

    def _all_flow(self) -> bool:
        return (self.folder / SEEN).exists() and all(flow["count"] for flow in self.seen()["flows"].values())

    def still_missing(self) -> list[str]:
        if not (self.folder / SEEN).exists():
            return ["the observer"]
        seen = self.seen()
        unsettled: list[str] = seen["unsettled"]
        return [name for name, flow in seen["flows"].items() if not flow["count"]] + unsettled

    def log_tail(self, characters: int = 3000) -> str:
        """Of the mesh and the observer."""
        logs = (self.mesh.log, self.folder / "observer.log")
        return "\n".join(log.read_text()[-characters:] for log in logs if log.exists())

    def seen(self) -> dict[str, Any]:
        """What the observer has seen last.

        Raises:
            AssertionError: it has ended.
        """
        if self._observer is None or self._observer.poll() is not None:
            raise AssertionError(f"the observer has ended:\n{self.log_tail()}")
        return read_seen(self.folder / SEEN)

    def judged(self) -> dict[str, Any]:
        """End the observer; what it has seen last, the jobs judged."""
        assert self._observer is not None
        self._observer.terminate()
        self._observer.wait(_END_SECONDS * self.slowness)
        last = read_seen(self.folder / SEEN)
        assert last.get("ended"), f"the observer did not end well:\n{self.log_tail()}"
        return last

    def closed_recordings(self) -> list[Path]:
        """Every recording that is ended, once the output is stopped."""
        self.mesh.call("publisher.stop", stream=STREAMS[0], output="rec", wait_s=10)
        return sorted((self.mesh.media_dir / "rec").glob("*.mp4"))

    @property
    def output(self) -> Output:
        """As the signal's device sees it."""
        return Output(self.line)

    @contextlib.contextmanager
    def no_pulses(self) -> Iterator[None]:
        """The machine gives none: what is on then is on from before, and must end by itself."""
        self._hold.touch()
        try:
            yield
        finally:
            self._hold.unlink()

    # -- the application that writes a stream ------------------------------------------------------------------

    def begin_application(self) -> None:
        with (self.folder / "application.log").open("ab") as log:
            command = [
                *(sys.executable, "-m", "tests.chaos.full_load.pictures"),
                *(self.nats.url, str(self.mesh.shm_dir)),
            ]
            self._application = subprocess.Popen(command, stderr=log)

    def end_application(self) -> None:
        """As by kill -9."""
        if self._application is not None:
            self._application.kill()
            self._application.wait()
            self._application = None

    def application_lives(self) -> bool:
        return self._application is not None and self._application.poll() is None

    def _end_observer(self) -> None:
        if self._observer is not None and self._observer.poll() is None:
            self._observer.send_signal(signal.SIGKILL)
            self._observer.wait()


@contextlib.contextmanager
def _small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    before = [path.name for path in folder.iterdir() if path.is_dir()]
    mount: Sequence[str] = ("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))
    subprocess.run(mount, check=True, timeout=10)
    for name in before:
        (folder / name).mkdir()
    try:
        yield
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True, timeout=10)
        with contextlib.suppress(OSError):
            os.rmdir(folder)

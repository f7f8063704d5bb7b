"""What a mesh does during a soak: every service has work all the time, and small things come and go beside it."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.mesh import CallFailed, RunningMesh, bunny
from tests.support.pace import Patience

STREAM = "cam0"
RECORDING = "rec"
_LINES = "lines"
_WAIT_SECONDS = 20
_VIEWERS = 2
_CONNECT_SECONDS = 40.0
_POLL_SECONDS = 0.05
_SMALL = "test://?size=384x216&fps=15"  # two shared cores carry all of it, and leave room for what measures


class Pace(NamedTuple):
    """How fast things come and go."""

    turn_seconds: float
    segment: str
    keep: str


LONG = Pace(turn_seconds=20.0, segment="20s", keep="2m")
SHORT = Pace(turn_seconds=4.0, segment="2s", keep="6s")


class Viewers:
    """So many of WHEP, in a process of their own, which only takes."""

    def __init__(self, url: str, count: int) -> None:
        command = [sys.executable, "-m", "tests.bench.egress_sinks", "framemesh", url, str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._count = count

    def connected(self) -> bool:
        """Waits for their first word."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return bool(line) and json.loads(line).get("connected") == self._count

    def packets(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline() or -1)

    def leave(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_CONNECT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def soak_mesh() -> Iterator[RunningMesh]:
    """A whole mesh that may write to control files of its own."""
    with tempfile.TemporaryDirectory(prefix="framemesh-soak-") as folder:
        lines = Path(folder) / _LINES
        lines.mkdir()
        with RunningMesh(folder=Path(folder), environment={"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(lines)}) as mesh:
            yield mesh


class Load:
    """Steady: a clip with sound that is encoded, watched, recorded and mixed, and the mix recorded, too. At each turn a
    viewer, a stream, an output, a picture, a job and a pulse come and go."""

    def __init__(self, mesh: RunningMesh, pace: Pace) -> None:
        self._mesh, self._pace = mesh, pace
        self._viewers: Viewers | None = None
        self.turns = 0
        self.failed: list[str] = []
        """Turns that did not go as they should."""

    def __enter__(self) -> Self:
        mesh, pace = self._mesh, self._pace
        kept = {"segment": pace.segment, "keep_for": pace.keep, "wait_s": _WAIT_SECONDS}
        mesh.call("capture.start", stream=STREAM, source=f"file://{self.clip()}?loop=1", wait_s=_WAIT_SECONDS)
        mesh.call("capture.start", stream="cam1", source=_SMALL, wait_s=_WAIT_SECONDS)
        mesh.call("publisher.start", stream=STREAM, output=RECORDING, to="file://rec/{start}.mp4", **kept)
        inputs = [{"input": name, "source": f"mesh://{name}"} for name in (STREAM, "cam1")]
        mesh.call("cloud-mix-proxy.create", mix="wall", inputs=inputs, size="640x360", fps=15)
        mesh.call("publisher.start", stream="wall", output=RECORDING, to="file://wall/{start}.ts", **kept)
        line = mesh.folder / _LINES / "line"
        line.touch()
        mesh.call("io-signal.start", signal="do1", mode="io", address=line.as_uri(), keep="100ms")
        self._viewers = Viewers(f"{mesh.console}whep/{STREAM}/main", _VIEWERS)
        if not self._viewers.connected():
            raise AssertionError(f"viewers did not connect\n{mesh.log.read_text()[-2000:]}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._viewers is not None:
            self._viewers.leave()

    def packets(self) -> int:
        """That the steady viewers got so far."""
        assert self._viewers is not None
        return self._viewers.packets()

    def turn(self) -> None:
        """Everything comes and goes once; what is refused is told in `failed`, and the soak goes on."""
        self.turns += 1
        for what, do in (
            ("a viewer", self._viewer),
            ("a stream", self._stream),
            ("a picture", lambda: self._mesh.call("frame-extractor.picture", stream=STREAM, wait_s=_WAIT_SECONDS)),
            ("a job", self._job),
            ("a pulse", lambda: self._mesh.call("io-signal.pulse", signal="do1")),
        ):
            self._tried(what, do)

    def _tried(self, what: str, do: Callable[[], Any]) -> None:
        try:
            do()
        except (CallFailed, AssertionError, OSError) as error:
            self.failed.append(f"turn {self.turns}, {what}: {error}"[:300])

    def _viewer(self) -> None:
        viewer = Viewers(f"{self._mesh.console}whep/{STREAM}/main", 1)
        try:
            assert viewer.connected(), "not connected"
        finally:
            viewer.leave()

    def _stream(self) -> None:
        """Of the same name each time: what a mesh remembers of names is bounded by their number."""
        self._mesh.call("capture.start", stream="guest", source=_SMALL, wait_s=_WAIT_SECONDS)
        to = "file://guest/guest.mp4"
        self._mesh.call("publisher.start", stream="guest", output=RECORDING, to=to, wait_s=_WAIT_SECONDS)
        self._mesh.call("publisher.stop", stream="guest", output=RECORDING, wait_s=_WAIT_SECONDS)
        self._mesh.call("capture.stop", stream="guest", wait_s=_WAIT_SECONDS)
        for file in (self._mesh.media_dir / "guest").glob("*"):
            file.unlink()

    def _job(self) -> None:
        """One key picture of a clip, and it is taken away again."""
        folder = self._mesh.folder / "data" / "pictures" / "soak"
        sampling = {"mode": "timestamps", "timestamps_s": [1.0]}
        to = f"file://{folder}/{{index}}.{{autoext}}"
        job = self._mesh.call("frame-extractor.submit", video=f"file://{self.clip()}", to=to, sampling=sampling)["job"]
        patience = Patience(_WAIT_SECONDS)
        while not list(folder.glob("*.*")):
            assert not patience.is_over(), f"job {job} made no picture"
            time.sleep(_POLL_SECONDS)
        for file in folder.glob("*"):
            file.unlink()

    def clip(self) -> str:
        """Within the folder that jobs may read."""
        copy = self._mesh.media_dir / "clip.mp4"
        if not copy.exists():
            copy.write_bytes(bunny().read_bytes())
        return str(copy)

"""The programs of examples/, each as a user starts it, on one mesh: what they do, what they say, and how they end."""

import contextlib
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.clients.mesh import BlockingStream
from tests.support.client import client
from tests.support.mesh import RunningMesh
from tests.support.pace import Patience
from tests.support.peers import probe

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
_WIDTH, _HEIGHT, _FPS = 320, 240, 25
_END_SECONDS = 10.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    files = tmp_path_factory.mktemp("io")
    (files / "do1").touch()
    environment = {"FRAMEMESH_IO_SIGNAL_FILE_ROOTS": str(files), "FRAMEMESH_PUBLISHER_MIN_FREE_BYTES": "1000000"}
    with RunningMesh(environment=environment) as running:
        running.call("io-signal.start", signal="do1", mode="io", address=(files / "do1").as_uri())
        yield running


class Program:
    """A program of examples/, and what it has said so far."""

    def __init__(self, mesh: RunningMesh, name: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            # SIGINT is ignored where the tests run in the background.
            [sys.executable, "-c", _START, str(EXAMPLES / f"{name}.py"), *arguments],
            env=mesh.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.said.append(line.rstrip())
                self._more.notify_all()

    def wait_for(self, pattern: str, seconds: float = 15.0, behind: int = 0) -> "re.Match[str]":
        """The first line from `behind` on that the pattern is found in."""
        patience = Patience(seconds)
        with self._more:
            while True:
                for line in self.said[behind:]:
                    if found := re.search(pattern, line):
                        return found
                assert not patience.is_over(), f"{pattern!r} is not in {self.said}"
                assert self._reader.is_alive(), f"it has ended: {self.said}"
                self._more.wait(0.2)

    def end(self, how: int = signal.SIGINT) -> int:
        self._process.send_signal(how)
        try:
            code = self._process.wait(_END_SECONDS)
        finally:
            self._process.kill()
        self._reader.join(_END_SECONDS)
        assert not any("Traceback" in line for line in self.said), self.said
        return code


_START = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@contextlib.contextmanager
def running(mesh: RunningMesh, name: str, *arguments: str) -> Iterator[Program]:
    program = Program(mesh, name, *arguments)
    try:
        yield program
        assert program.end() == 130, program.said
    finally:
        program._process.kill()


class Line:
    """Writes pictures at their rate, from a thread: a bright part, and where `mark_at` says so a dark mark on it."""

    def __init__(self, stream: BlockingStream) -> None:
        self._stream = stream
        self.mark_at: int | None = None
        """Of a square's left edge, in pixels."""
        self._noise = np.random.default_rng(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self._stop.wait(1 / _FPS):
            picture = self._noise.integers(170, 190, (_HEIGHT, _WIDTH), np.uint8)
            if (at := self.mark_at) is not None:
                picture[80:160, at : at + 64] = 20
            self._stream.write(picture)

    def __enter__(self) -> "Line":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def line(mesh: RunningMesh, stream: str) -> Iterator[Line]:
    with (
        client(mesh) as app,
        app.publish(stream, width=_WIDTH, height=_HEIGHT, pixel_format="gray", fps=_FPS) as written,
        Line(written) as pictures,
    ):
        yield pictures


def test_a_defect_is_a_pulse_for_each_part_that_has_one(mesh: RunningMesh) -> None:
    with (
        client(mesh) as app,
        line(mesh, "line1") as pictures,
        app.events(service="io-signal", timeout_seconds=10) as events,
        running(mesh, "defect_detector", "line1", "do1", "--keep", "50ms") as program,
    ):
        program.wait_for("looking for defects")
        for _ in range(2):
            behind = len(program.said)
            pictures.mark_at = 96
            found = program.wait_for(r"line1 \d+: (\d+) cells at (\d+),(\d+); do1 on after ([\d.]+) ms", behind=behind)
            pictures.mark_at = None
            assert int(found[1]) == 80, "64x80 pixels in cells of 8"
            assert (int(found[2]), int(found[3])) == (128, 120)
            on, off = itertools.islice((event for event in events if event.event == "changed"), 2)
            assert (on.id, on.detail["on"], off.detail["on"]) == ("do1", True, False)
            assert on.detail["by"] == "defect-detector"
        assert sum("cells at" in text for text in program.said) == 2, "one pulse for a part"


def test_who_crosses_is_counted_and_kept(mesh: RunningMesh) -> None:
    with client(mesh) as app, line(mesh, "door") as pictures:
        app.start_rendition("door", history="10s", encoder="software", preset="ultrafast")
        with running(mesh, "people_counter", "door", "--before", "1s", "--after", "500ms") as program:
            frames = app.frames("door", timeout_seconds=5)
            for _ in range(15):
                next(frames)
            for way, said in (
                (range(20, 240, 8), "rightwards: 1 right, 0"),
                (range(232, 20, -8), "leftwards: 1 right, 1"),
            ):
                for _ in range(5):  # on a busy machine it misses pictures, and then whoever has crossed meanwhile
                    for at in way:
                        pictures.mark_at = at
                        next(frames)
                    pictures.mark_at = None
                    with contextlib.suppress(AssertionError):
                        program.wait_for(said, seconds=2)
                        break
            frames.close()
            program.wait_for("rightwards: 1 right, 0 left; clip")
            crossing = program.wait_for("leftwards: 1 right, 1 left; clip (.+)")
            finished = program.wait_for(f"clip {crossing[1]} finished: (.+)")
            pictures_kept = probe(Path(finished[1]))["video"].decoded
            assert pictures_kept >= _FPS, "a second before, half a second behind"


def test_the_wall_follows_streams_that_come_and_go(mesh: RunningMesh) -> None:
    with running(mesh, "camera_wall", "--size", "320x180", "--fps", "5") as program:
        with line(mesh, "left"):
            program.wait_for("^wall: left$")
            with line(mesh, "right"):
                program.wait_for("^wall: left, right$")
                mesh.wait_for(lambda: (mesh.actual("streams", "wall") or {}).get("state") == "live", what="the wall")
                with client(mesh) as app:
                    picture = next(app.frames("wall", timeout_seconds=10))
                    assert (picture.ref.width, picture.ref.height) == (320, 180)
            program.wait_for("^wall: left$", behind=len(program.said) - 1)
        program.wait_for("no stream is live")
        with line(mesh, "left"):
            program.wait_for("^wall: left$", behind=len(program.said) - 1)
            assert program.end(signal.SIGTERM) == 130
            assert mesh.call("cloud-mix-proxy.list") == {"mixes": []}
    assert not any("Traceback" in text for text in program.said)


_WRONG = {
    "error 404: stream 'nothing' does not exist": ("defect_detector", "nothing", "do1", "--timeout", "0.2"),
    "error 404: signal 'do9' does not exist (there are: do1); set one up": ("defect_detector", "nothing", "do9"),
    "error 400: stream 'No'": ("people_counter", "No"),
    "error 400: size": ("camera_wall", "--size", "wide"),
}
_EACH = """
import contextlib, io, json, runpy, sys
for sys.argv in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, said.getvalue()]))
"""


def test_what_is_wrong_is_said_in_a_line_and_help_is_given(mesh: RunningMesh) -> None:
    asked = [*_WRONG.values(), *((name, "--help") for name in PROGRAMS)]
    commands = json.dumps([[str(EXAMPLES / f"{name}.py"), *rest] for name, *rest in asked])
    with line(mesh, "left") as pictures, client(mesh) as app:
        assert not pictures.mark_at
        next(app.frames("left", timeout_seconds=10))  # there is something for the wall
        done = subprocess.run(
            [sys.executable, "-c", _EACH, commands], env=mesh.environment, capture_output=True, text=True, timeout=60
        )
    assert done.stderr == "", "nothing is left behind by what has ended"
    told = [json.loads(text) for text in done.stdout.splitlines()]
    for error, (code, said) in zip(_WRONG, told, strict=False):
        assert code == 1
        assert error in said
        assert said.splitlines()[-1].startswith("error "), "it is the last thing that is said"
        assert "Traceback" not in said
    for name, (code, said) in zip(PROGRAMS, told[len(_WRONG) :], strict=True):
        assert code == 0
        assert f"python examples/{name}.py" in said


def test_each_is_short_and_told_of() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for name in PROGRAMS:
        assert (EXAMPLES / f"{name}.py").read_text().count("\n") < 120
        assert f"## {name}.py" in page

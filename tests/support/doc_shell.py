"""A shell for the lines of the documents: `framemesh` and `nats` in it speak to one mesh that runs."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.doc_blocks import ROOT
from tests.support.doc_command import write_client
from tests.support.mesh import RunningMesh
from tests.support.pace import Patience

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
_LINES_SECONDS = 60.0
_LOOK_SECONDS = "1.2"
"""How long something runs that only Ctrl-C ends: what is wrong with it is said by then."""
_SHELL = f"""
set -o pipefail
endless() {{ timeout --foreground -s INT {_LOOK_SECONDS} "$@"; [ $? = 124 ]; }}
exec 2>&1
"""
_STAND_INS = {
    # Windows are for people: what plays shall find that there is something to be played.
    "ffplay": 'exec ffprobe -v error "$@"',
    "vlc": 'exec ffprobe -v error -rtsp_transport tcp "$@"',
    # The real one, which checks the file and listens nowhere.
    "nats-server": f'exec {Path(sys.executable).with_name("nats-server")} -t "$@"',
}
_MARK = "@@line@@"


class Line(NamedTuple):
    text: str
    code: int
    said: str


class DocShell:
    """Use as a context manager. `fill` puts what is here in the place of what a document names."""

    def __init__(self, mesh: RunningMesh, folder: Path, fill: Callable[[str], str]) -> None:
        self._mesh, self.fill = mesh, fill
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True)
        self._socket = folder / "socket"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "DocShell":
        for name in ("framemesh", "nats"):
            write_client(self._bin / name, self._socket)
        for name, text in _STAND_INS.items():
            (self._bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self._bin / name).chmod(0o755)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.doc_command", str(self._socket)], cwd=ROOT, stdin=subprocess.DEVNULL
        )
        patience = Patience(_START_SECONDS)
        while not self._socket.exists():
            assert self._server.poll() is None
            assert not patience.is_over(), "the server of commands does not start"
            time.sleep(_POLL_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def run(self, lines: list[str], folder: Path, **environment: str) -> list[Line]:
        """Each line in turn, in one shell; what each has said, and its code."""
        path = f"{self._bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        script = _SHELL + "".join(f"{self.fill(line)}\ncode=$?; echo; echo {_MARK}$code\n" for line in lines)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env={**self._mesh.environment, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=_LINES_SECONDS,
        )
        told = re.split(f"\n{_MARK}(\\d+)\n", done.stdout)
        assert len(told) == 2 * len(lines) + 1, f"the shell has ended: {done.stdout[-2000:]}"
        return [Line(line, int(told[2 * at + 1]), told[2 * at]) for at, line in enumerate(lines)]

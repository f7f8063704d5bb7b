"""Services of a mesh on several hosts, each with folders of its own."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import msgspec

from schemas.resources import Presence
from schemas.service_table import BY_NAME
from shared.service import READY_FD_VARIABLE
from tests.support.netns_hosts import Host

_READY_SECONDS = 40.0
_STOP_SECONDS = 10.0


class HostServices:
    """Those of one host; use as a context manager, at whose end they are ended."""

    def __init__(self, host: Host, nats_url: str, **settings: str) -> None:
        """`settings`: of all of them, by their names in upper case."""
        self.host = host
        self.folder = Path(tempfile.mkdtemp(prefix=f"framemesh-{host.name}-"))
        self._shm = Path(tempfile.mkdtemp(prefix="framemesh-test-", dir="/dev/shm"))
        self.media = self.folder / "data" / "media"
        self.media.mkdir(parents=True)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_NATS_URL": nats_url,
            "FRAMEMESH_NODE": host.name,
            "FRAMEMESH_DATA_DIR": str(self.folder / "data"),
            "FRAMEMESH_SHM_DIR": str(self._shm / "rings"),
            "FRAMEMESH_BIND": host.address,
            **{f"FRAMEMESH_{name}": value for name, value in settings.items()},
        }
        self._log = self.folder / "services.log"
        self.present: dict[str, Presence] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self, *services: str) -> None:
        """All at once; returns when all are ready."""
        waiting = {service: self._begin(service) for service in services}
        for service, reading in waiting.items():
            with os.fdopen(reading, "rb") as ready:
                assert select.select([ready], [], [], _READY_SECONDS)[0], f"{service} is not ready\n{self.log[-3000:]}"
                line = ready.readline()
            assert line, f"{service} did not start:\n{self.log[-3000:]}"
            self.present[service] = msgspec.json.decode(line, type=Presence)

    def _begin(self, service: str) -> int:
        reading, writing = os.pipe()
        with self._log.open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [*self.host.prefix, sys.executable, "-m", BY_NAME[service].module],
                env={**self.environment, READY_FD_VARIABLE: str(writing)},
                pass_fds=(writing,),
                stdout=log,
                stderr=log,
            )
        os.close(writing)
        return reading

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`framemesh ARGUMENTS` on this host."""
        command = [*self.host.prefix, sys.executable, "-m", "services.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30)

    def kill(self, service: str) -> None:
        """As by kill -9."""
        self.processes[service].kill()
        self.processes[service].wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._shm, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

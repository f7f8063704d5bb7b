"""Capture and io-signal of one node beside a real nats-server: a mesh for machines alone."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.support.nats import NatsServer
from tests.support.peers import free_port
from tests.support.processes import children, command

_STOP_SECONDS = 20.0


class IoNode:
    """Its services are killed and started again at will."""

    def __init__(self, nats: NatsServer, folder: Path, shm_dir: Path, **settings: str) -> None:
        """`settings`: of io-signal."""
        self.nats, self.shm_dir = nats, shm_dir
        self.log = folder / "node.log"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")},
            "FRAMEMESH_NATS_URL": nats.url,
            "FRAMEMESH_NODE": "test",
            "FRAMEMESH_SHM_DIR": str(shm_dir),
            "FRAMEMESH_DATA_DIR": str(folder / "data"),
            **{f"FRAMEMESH_IO_SIGNAL_{key.upper()}": value for key, value in settings.items()},
        }
        self._services: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    @contextlib.contextmanager
    def running(cls, *services: str, **settings: str) -> Iterator[Self]:
        """With these services, by folder: `capture`, `io_signal`."""
        with (
            tempfile.TemporaryDirectory(prefix="framemesh-test-", dir="/dev/shm") as shm,
            tempfile.TemporaryDirectory(prefix="framemesh-test-") as folder,
            NatsServer() as nats,
        ):
            node = cls(nats, Path(folder), Path(shm), **settings)
            try:
                node.start(*services)
                yield node
            finally:
                node.stop()

    def start(self, *services: str) -> None:
        """All at once; returns when they are ready."""
        waiting = []
        for service in services:
            reads, writes = os.pipe()
            environment = {
                **self.environment,
                "FRAMEMESH_READY_FD": str(writes),
                "FRAMEMESH_METRICS_PORT": str(free_port()),
            }
            command = [sys.executable, "-m", f"services.{service}"]
            with self.log.open("ab") as log:
                self._services[service] = subprocess.Popen(command, env=environment, pass_fds=[writes], stderr=log)
            os.close(writes)
            waiting.append((service, reads))
        for service, reads in waiting:
            with open(reads) as ready:
                assert ready.readline(), f"{service} did not start:\n{self.log.read_text()[-2000:]}"

    def kill(self, service: str) -> None:
        """As by kill -9."""
        self._services[service].kill()
        self._services[service].wait()

    def stop(self) -> None:
        for process in self._services.values():
            process.send_signal(signal.SIGTERM)
        for process in self._services.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def hand(self) -> int:
        """The process that has the devices."""
        service = self._services["io_signal"].pid
        found = [pid for pid in children(service) if "services.io_signal.hand" in command(pid)]
        assert len(found) == 1, found
        return found[0]

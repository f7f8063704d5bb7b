"""A real nats-server with JetStream on a loopback port, that can be killed and started again."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.support.peers import free_port

_READY_SECONDS = 10.0


class NatsServer:
    """Use as a context manager; `kill` and `start` keep its port and its store."""

    def __init__(self, *arguments: str) -> None:
        """`arguments`: more than the usual ones of nats-server."""
        self._arguments = arguments
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="framemesh-nats-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = Path(sys.executable).with_name("nats-server")
        self._process = subprocess.Popen(
            [program, "-js", "-sd", self.folder, "-a", "127.0.0.1", "-p", str(self.port), *self._arguments],
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    if connection.recv(4) == b"INFO":
                        return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("nats-server does not answer")

    def kill(self) -> None:
        """As by kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """It is there, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

"""A locked nats-server as a mesh has it: TLS, a user for each party, secrets made for the run."""

import asyncio
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from nats.aio.client import Client

from services.launcher.bundled_nats import nats_server_program, write_configuration
from services.launcher.lock import mesh_secrets, set_up
from shared.bus_access import BusAccess
from shared.settings import Settings
from tests.support.access import plain_client
from tests.support.peers import free_port

_START_SECONDS = 10.0


class GuardedNats:
    """Use as a context manager."""

    def __init__(self, folder: Path, more: str = "") -> None:
        """`more`: lines of nats.conf, after those of a mesh."""
        self.port = free_port()
        self.secrets = mesh_secrets(folder)
        self._folder = folder
        self._more = more
        self._log = folder / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"tls://127.0.0.1:{self.port}"

    def access(self, party: str) -> BusAccess:
        return self.secrets.access(party)

    async def connect(self, user: str, refused: asyncio.Queue[str] | None = None) -> Client:
        """A plain client; what the server says it may not do is put into `refused`."""
        return await plain_client(self.url, user, self.access(user), refused)

    def violations(self) -> list[str]:
        """Lines of the server's log that say that somebody was refused something."""
        return [line for line in self._log.read_text().splitlines() if "Violation" in line]

    def log(self) -> str:
        return self._log.read_text()

    def reload(self) -> None:
        """Take what the files say now."""
        assert self._process is not None
        before = self.log().count("Reloaded server configuration")
        self._write()
        subprocess.run([nats_server_program(), "--signal", f"reload={self._process.pid}"], check=True, timeout=10)
        self._until(lambda: self.log().count("Reloaded server configuration") > before)

    def _write(self) -> Path:
        path = write_configuration(self._folder, "127.0.0.1", self.port, self.secrets)
        path.write_text(f"{path.read_text()}{self._more}")
        return path

    def _until(self, done: Any) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while not done():
            assert self._process.poll() is None, self.log() if self._log.exists() else "no log"
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def __enter__(self) -> Self:
        path = self._write()
        self._process = subprocess.Popen([nats_server_program(), "-c", str(path), "-l", str(self._log)])
        try:
            self._until(lambda: self._log.exists() and "Server is ready" in self.log())
            with ThreadPoolExecutor(1) as pool:  # where a loop runs already, another one can only run in a thread
                pool.submit(asyncio.run, set_up(self.url, self.secrets, Settings(), _START_SECONDS)).result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

"""A nats-server that enforces the drafted permissions: one user per party, with a password made for the run."""

import asyncio
import json
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import nats
from nats.aio.client import Client

from services.launcher.bundled_nats import nats_server_program
from tests.support.peers import free_port

PERMISSIONS = Path(__file__).parents[2] / "ops" / "nats" / "permissions.json"
_START_SECONDS = 10.0


class GuardedNats:
    """Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.users: dict[str, Any] = json.loads(PERMISSIONS.read_text())
        self._passwords = {user: secrets.token_hex(8) for user in self.users}
        self._folder = folder
        self._log = folder / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, user: str) -> str:
        return f"nats://{user}:{self._passwords[user]}@127.0.0.1:{self.port}"

    async def connect(self, user: str, refused: asyncio.Queue[str] | None = None) -> Client:
        """A plain client; what the server says it may not do is put into `refused`."""

        async def error(problem: Exception) -> None:
            if refused is not None:
                refused.put_nowait(str(problem))

        prefix = self.users[user]["inbox_prefix"]
        return await nats.connect(self.url(user), error_cb=error, inbox_prefix=prefix, allow_reconnect=False)

    def violations(self) -> list[str]:
        """Lines of the server's log that say that somebody was refused something."""
        return [line for line in self._log.read_text().splitlines() if "Violation" in line]

    def __enter__(self) -> Self:
        # Passwords are strings to the server, also those that look like numbers, so all is written as JSON.
        configuration = {
            "listen": f"127.0.0.1:{self.port}",
            "max_payload": 8 << 20,
            "jetstream": {"store_dir": str(self._folder / "jetstream")},
            "authorization": {
                "users": [
                    {"user": user, "password": self._passwords[user], "permissions": entry["permissions"]}
                    for user, entry in self.users.items()
                ]
            },
        }
        path = self._folder / "nats.conf"
        path.write_text(json.dumps(configuration, indent=1))
        self._process = subprocess.Popen([nats_server_program(), "-c", str(path), "-l", str(self._log)])
        deadline = time.monotonic() + _START_SECONDS
        while not (self._log.exists() and "Server is ready" in self._log.read_text()):
            assert self._process.poll() is None, self._log.read_text() if self._log.exists() else "no log"
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

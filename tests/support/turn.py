"""A TURN server on loopback: Debian's coturn, with a secret that it shares with the gateway."""

import contextlib
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TURNSERVER = shutil.which("turnserver") or "/usr/bin/turnserver"
_READY_SECONDS = 10.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class TurnServer:
    port: int
    secret_file: Path
    log: Path

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}"

    @property
    def users(self) -> set[str]:
        """Who was given a relayed address, without the time at which that ends."""
        lines = [line for line in self.log.read_text().splitlines() if "ALLOCATE processed, success" in line]
        return {line.partition(" user <")[2].partition(">")[0].partition(":")[2] for line in lines}


@contextlib.contextmanager
def turn_server(folder: Path) -> Iterator[TurnServer]:
    """Relays between addresses of this machine only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret, log = "a secret of the tests", folder / "turn.log"
    secret_file = folder / "turn-secret"
    secret_file.touch(0o600)
    secret_file.write_text(secret)
    settings = folder / "turnserver.conf"
    settings.write_text(
        f"listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nno-tls\nno-dtls\nno-cli\nno-rfc5780\n"
        f"use-auth-secret\nstatic-auth-secret={secret}\nrealm=framemesh\nallow-loopback-peers\n"
        "denied-peer-ip=0.0.0.0-255.255.255.255\ndenied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n"
        "allowed-peer-ip=127.0.0.1\n"
        f"simple-log\nlog-file={log}\nverbose\nuserdb={folder / 'turn.db'}\npidfile={folder / 'turn.pid'}\n"
    )
    command = [TURNSERVER, "-c", str(settings)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            if time.monotonic() > deadline or process.poll() is not None:
                raise AssertionError(f"coturn does not listen: {log.read_text()[-2000:] if log.exists() else ''}")
            select.select([], [], [], 0.02)
        yield TurnServer(port, secret_file, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

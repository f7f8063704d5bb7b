"""A hub and an edge host as network namespaces with a cable between them, each with a nats-server and services."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self

import pytest

from services.launcher.bundled_nats import nats_server_program
from services.launcher.nats_leaf import HubServer, LeafServer, hub_lines, leaf_lines
from shared.bus import Bus
from tests.support.peers import wait_until

HUB, EDGE = "hub", "edge1"
NATS_URL = "nats://127.0.0.1:4222"
_ADDRESSES = {HUB: "10.78.0.1", EDGE: "10.78.0.2"}
_CABLE = "cable"
_CLONE_NEWNET = 0x4000_0000
_READY_SECONDS = 20.0
_libc = ctypes.CDLL(None, use_errno=True)


class TwoHosts:
    """Use as a context manager; needs root and iproute2, else the test is skipped."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="framemesh-hosts-"))
        self._shm = Path(tempfile.mkdtemp(prefix="framemesh-test-", dir="/dev/shm"))
        self._processes: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    # -- the network -----------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Pull the cable: nothing passes, and nobody is told."""
        _ip("-n", _namespace(HUB), "link", "set", _CABLE, "down")

    def mend(self) -> None:
        _ip("-n", _namespace(HUB), "link", "set", _CABLE, "up")

    def crossed_bytes(self) -> int:
        """Over the cable from the edge to the hub, so far."""
        shown = _ip("-n", _namespace(EDGE), "-s", "-j", "link", "show", _CABLE)
        return int(json.loads(shown)[0]["stats64"]["tx"]["bytes"])

    @contextlib.contextmanager
    def on(self, host: str) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are of that host."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{_namespace(host)}") as there:
            assert _libc.setns(there.fileno(), _CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert _libc.setns(before.fileno(), _CLONE_NEWNET) == 0

    @contextlib.asynccontextmanager
    async def bus(self, host: str) -> AsyncIterator[Bus]:
        """A connection to a host's server; not to be used over its death."""
        with self.on(host):
            bus = await Bus.connect(NATS_URL, name="test", timeout_seconds=_READY_SECONDS)
        try:
            yield bus
        finally:
            await bus.drain()

    # -- processes -------------------------------------------------------------------------------------------

    def start_nats(self, host: str) -> None:
        domain, lines = (
            hub_lines(HubServer(listen=_ADDRESSES[HUB]))
            if host == HUB
            else leaf_lines(LeafServer(node=EDGE, hubs=(f"nats-leaf://{_ADDRESSES[HUB]}",)))
        )
        configuration = self.folder / f"{host}.conf"
        configuration.write_text(
            'listen: "127.0.0.1:4222"\nmax_payload: 8388608\n'
            f'jetstream {{\n  store_dir: "{self.folder / host / "jetstream"}"\n  domain: "{domain}"\n}}\n{lines}'
        )
        self._start(host, "nats", [nats_server_program(), "-c", str(configuration)])
        wait_until(lambda: "Server is ready" in self.log(host, "nats"), _READY_SECONDS, f"nats-server of {host}")

    def start(self, host: str, *services: str, settings: dict[str, str] | None = None) -> None:
        """Start services and wait until they are ready."""
        for service in services:
            module = f"services.{service.replace('-', '_')}"
            self._start(host, service, [sys.executable, "-m", module], settings or {})
        for service in services:
            wait_until(
                lambda name=service: "ready on node" in self.log(host, name),  # type: ignore[misc]
                _READY_SECONDS,
                f"{service} of {host}\n{self.log(host, service)[-2000:]}",
            )

    def kill(self, host: str, name: str) -> None:
        """As by kill -9."""
        process = self._processes.pop((host, name))
        process.kill()
        process.wait()

    def log(self, host: str, name: str) -> str:
        """Of the process that was started last."""
        return (self.folder / f"{host}-{name}.log").read_text()

    def _start(self, host: str, name: str, command: list[str], settings: dict[str, str] | None = None) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FRAMEMESH_")}
        environment |= {
            "FRAMEMESH_NODE": host,
            "FRAMEMESH_NATS_URL": NATS_URL,
            "FRAMEMESH_SHM_DIR": str(self._shm / host),
            "FRAMEMESH_DATA_DIR": str(self.folder / host),
            "FRAMEMESH_PUBLISHER_FILE_ROOTS": str(self.folder),
            **(settings or {}),
        }
        with (self.folder / f"{host}-{name}.log").open("wb") as log:
            self._processes[host, name] = subprocess.Popen(
                ["ip", "netns", "exec", _namespace(host), *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )

    def __enter__(self) -> Self:
        try:
            for host in (HUB, EDGE):
                _ip("netns", "add", _namespace(host))
            _ip("-n", _namespace(HUB), "link", "add", _CABLE, "type", "veth",
                "peer", "name", _CABLE, "netns", _namespace(EDGE))  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', b'') or error}")
        for host, address in _ADDRESSES.items():
            _ip("-n", _namespace(host), "addr", "add", f"{address}/24", "dev", _CABLE)
            for interface in ("lo", _CABLE):
                _ip("-n", _namespace(host), "link", "set", interface, "up")
        return self

    def __exit__(self, *_: object) -> None:
        # Services before their servers: each says goodbye to one that is there.
        for is_server in (False, True):
            ending = [one for (_, name), one in self._processes.items() if (name == "nats") == is_server]
            for process in ending:
                process.send_signal(signal.SIGTERM)
            for process in ending:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for host in (HUB, EDGE):
            subprocess.run(["ip", "netns", "del", _namespace(host)], check=False, capture_output=True)
        shutil.rmtree(self._shm, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _namespace(host: str) -> str:
    return f"fm-{os.getpid()}-{host}"


def _ip(*arguments: str) -> bytes:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True).stdout

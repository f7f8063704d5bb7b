"""Three real nats-servers with JetStream as one cluster, on this machine or each on a host of its own."""

import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import nats

from services.launcher.nats_cluster import ClusterServer, RouteTls, cluster_lines
from tests.support.pace import Patience
from tests.support.peers import free_port

Configure = Callable[["Member", Sequence[str]], str]
_READY_SECONDS = 15.0
_LOOK_SECONDS = 0.05


class Member:
    """One server; `prefix` of its command line puts it on its host."""

    def __init__(self, name: str, folder: Path, host: str, client_port: int, route_port: int) -> None:
        self.name, self.host = name, host
        self.client_port, self.route_port = client_port, route_port
        self.folder = folder / name
        self.prefix: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.client_port}"

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def start(self, routes: Sequence[str], tls: RouteTls | None = None, configure: Configure | None = None) -> None:
        self.folder.mkdir(exist_ok=True)
        text = configure(self, routes) if configure else self._open(routes, tls)
        path = self.folder / "nats.conf"
        path.write_text(text)
        program = Path(sys.executable).with_name("nats-server")
        self.process = subprocess.Popen([*self.prefix, program, "-c", path, "-l", self.folder / "log"])

    def _open(self, routes: Sequence[str], tls: RouteTls | None) -> str:
        """A configuration that asks clients for nothing."""
        server = ClusterServer(name=self.name, routes=tuple(routes), listen=f"{self.host}:{self.route_port}", tls=tls)
        return (
            f'listen: "{self.host}:{self.client_port}"\nmax_payload: {8 << 20}\n'
            f'jetstream {{ store_dir: "{self.folder}/js", max_memory_store: {64 << 20}, max_file_store: {1 << 30} }}\n'
            + cluster_lines(server)
        )

    def kill(self) -> None:
        """As by kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class NatsCluster:
    """Use as a context manager; ready when all servers have each other."""

    def __init__(
        self,
        hosts: Sequence[str] = ("127.0.0.1",) * 3,
        prefixes: Sequence[Sequence[str]] = (),
        tls: RouteTls | None = None,
        configure: Configure | None = None,
    ) -> None:
        """`configure`: says the whole configuration of a server, given all routes."""
        self.folder = Path(tempfile.mkdtemp(prefix="framemesh-nats-"))
        self._tls, self._configure = tls, configure
        own = len(set(hosts)) == len(hosts)  # each on a host of its own, with the usual ports
        self.members = [
            Member(f"n{number + 1}", self.folder, host, 4222 if own else free_port(), 6222 if own else free_port())
            for number, host in enumerate(hosts)
        ]
        for member, prefix in zip(self.members, prefixes, strict=False):
            member.prefix = tuple(prefix)

    @property
    def routes(self) -> list[str]:
        return [f"{member.host}:{member.route_port}" for member in self.members]

    def urls(self, first: int = 0) -> str:
        """Of all, this one first."""
        return ",".join(member.url for member in self.members[first:] + self.members[:first])

    def start(self, *members: Member) -> None:
        for member in members:
            member.start(self.routes, self._tls, self._configure)
        for member in members:
            patience = Patience(_READY_SECONDS)
            while not _answers(member):
                assert not patience.is_over(), member.log
                time.sleep(_LOOK_SECONDS)

    async def leader(self, stream: str) -> Member:
        """The server that leads a stream now."""
        async with asyncio.timeout(_READY_SECONDS):
            client = await nats.connect([member.url for member in self.members], max_reconnect_attempts=-1)
            try:
                while True:
                    info = await client.jetstream().stream_info(stream)
                    if info.cluster is not None and info.cluster.leader:
                        return next(member for member in self.members if member.name == info.cluster.leader)
                    await asyncio.sleep(_LOOK_SECONDS)
            finally:
                await client.close()

    def __enter__(self) -> Self:
        try:
            self.start(*self.members)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            if member.process is not None:
                member.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _answers(member: Member) -> bool:
    try:
        with socket.create_connection((member.host, member.client_port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False

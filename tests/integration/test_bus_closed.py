"""A connection that the server ends for good, as when credentials have expired: nobody waits for it for ever."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from shared.bus import Bus
from tests.support.nats import NatsServer
from tests.support.pace import patience
from tests.support.peers import free_port

EXPIRED = b"-ERR 'User Authentication Expired'\r\n"


class Expiring:
    """A way to a server, that says at any time what a server says then."""

    def __init__(self, server: NatsServer) -> None:
        self._server, self._clients = server, set[asyncio.StreamWriter]()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._clients.add(writer)

        async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    to.write(data)
                    await to.drain()
            to.close()

        await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))

    def expire(self) -> None:
        for writer in self._clients:
            writer.write(EXPIRED)


@contextlib.asynccontextmanager
async def expiring() -> AsyncIterator[Expiring]:
    with NatsServer() as server:
        way = Expiring(server)
        listening = await asyncio.start_server(way.serve, "127.0.0.1", 0)
        way.url = f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield way
        finally:
            listening.close()


async def test_whoever_wants_to_know_is_told_once() -> None:
    async with expiring() as way:
        bus = await Bus.connect(way.url, name="test", timeout_seconds=5)
        closed = asyncio.Event()
        bus.on_closed(closed.set)
        way.expire()
        async with patience(2):
            await closed.wait()
        assert not bus.connected
        await bus.drain()


async def test_an_end_of_ones_own_is_no_news() -> None:
    async with expiring() as way:
        bus = await Bus.connect(way.url, name="test", timeout_seconds=5)
        told: list[None] = []
        bus.on_closed(lambda: told.append(None))
        await bus.drain()
        assert told == []


async def test_a_service_ends_to_be_started_afresh(tmp_path: Path) -> None:
    async with expiring() as way:
        environment = {
            **os.environ,
            "FRAMEMESH_NATS_URL": way.url,
            "FRAMEMESH_DATA_DIR": str(tmp_path),
            "FRAMEMESH_SHM_DIR": str(tmp_path / "rings"),
            "FRAMEMESH_CAPTURE_METRICS_PORT": str(free_port()),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.capture", env=environment, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        try:
            async with patience(20):
                while b"ready on node" not in (line := await process.stderr.readline()):
                    assert line, "it ended before"
            way.expire()
            async with patience(10):
                said = await process.stderr.read()
                assert await process.wait() == 1
            assert b"closed this connection for good" in said
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

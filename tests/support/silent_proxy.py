"""Cables between programs and a TCP server that can be pulled: nothing is refused, nothing comes. Loopback only."""

import asyncio
import contextlib
import threading
from typing import Self

_CHUNK_BYTES = 65_536
_THREAD_SECONDS = 5.0  # a start, and an end


class SilentProxy:
    """Relays several ports to one server in a thread of its own; use as a context manager.

    What is sent over a pulled cable waits in the kernel's buffers, as it would until TCP sends it again.
    """

    def __init__(self, server_port: int, *names: str) -> None:
        """`names`: of the cables, a port for each."""
        self._server_port = server_port
        self.ports: dict[str, int] = {}
        self._names = names
        self._whole: dict[str, asyncio.Event] = {}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="silent-proxy", daemon=True)

    def pull(self, *names: str) -> None:
        """Cut these cables; without names all of them."""
        for name in names or self._names:
            self._loop.call_soon_threadsafe(self._whole[name].clear)

    def plug(self, *names: str) -> None:
        for name in names or self._names:
            self._loop.call_soon_threadsafe(self._whole[name].set)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_THREAD_SECONDS), "the proxy does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_THREAD_SECONDS)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        servers = []
        for name in self._names:
            self._whole[name] = asyncio.Event()
            self._whole[name].set()

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: asyncio.Event = self._whole[name]
            ) -> None:
                await self._relay(reader, writer, whole)

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self.ports[name] = server.sockets[0].getsockname()[1]
            servers.append(server)
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        relays = asyncio.all_tasks() - {asyncio.current_task()}
        for task in relays:
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: asyncio.Event) -> None:
        await whole.wait()
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:  # nobody listens: the client is told so as directly
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, downstream, whole))
                pumps.create_task(_pump(upstream, writer, whole))
        except* (OSError, EOFError):  # one end is gone: the other learns of it
            pass
        finally:
            writer.close()
            downstream.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: asyncio.Event) -> None:
    """Until one end closes.

    Raises:
        OSError: the connection was reset.
        EOFError: the connection was closed.
    """
    while True:
        await whole.wait()
        data = await reader.read(_CHUNK_BYTES)
        await whole.wait()
        if not data:
            raise EOFError
        writer.write(data)
        await writer.drain()

"""The TCP connections of one door: so many of one address, and whoever waits for an answer notices that one is lost."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, cast

from aiohttp import web

from shared.door.clients import Clients

MAX_OF_ONE_ADDRESS: Final = 256
"""A browser has six; an office behind one address has a few dozen of them."""
_TOO_MANY = b'{"code": 429, "message": "too many connections are open from this address; close some"}'
_REFUSAL = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\n%b" % (len(_TOO_MANY), _TOO_MANY)
)


class Connections:
    """Of one door; a trusted proxy may have as many as it likes, as it speaks for others."""

    def __init__(
        self,
        most_of_one: int = MAX_OF_ONE_ADDRESS,
        clients: Clients | None = None,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`most_of_one` address; 0: no limit. `on_refused` is told of each one that is closed for it."""
        self._most, self._clients, self._on_refused = most_of_one, clients or Clients(), on_refused
        self._open: Counter[str] = Counter()

    def protocol(self, server: web.Server) -> asyncio.Protocol:
        """One for each connection, as `create_server` wants them."""
        return Connection(self, server)

    def enter(self, transport: asyncio.Transport) -> str | None:
        """The key to leave with; None: there are enough already."""
        peer = transport.get_extra_info("peername")
        key = self._clients.of_connection(peer[0]) if peer else ""
        if key and self._most and self._open[key] >= self._most:
            self._on_refused()
            return None
        self._open[key] += 1
        return key

    def leave(self, key: str) -> None:
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]


class Connection(asyncio.Protocol):
    """In front of the library's own protocol, which it hands everything to."""

    def __init__(self, connections: Connections, server: web.Server) -> None:
        self.on_lost: set[Callable[[], Any]] = set()
        self._connections, self._server = connections, server
        self._key: str | None = None
        self._inner: web.RequestHandler | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # those of other event loops are none by their class
        self._key = self._connections.enter(stream)
        if self._key is None:
            stream.write(_REFUSAL)
            stream.close()
            return
        self._inner = self._server()
        self._inner.connection_made(stream)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> None:
        if self._inner is not None:
            self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        for tell in tuple(self.on_lost):
            tell()
        if self._key is not None:
            self._connections.leave(self._key)
        if self._inner is not None:
            self._inner.connection_lost(error)


@contextlib.asynccontextmanager
async def while_connected(request: web.Request) -> AsyncIterator[None]:
    """Do what is inside for as long as whoever asked is there.

    Raises:
        ConnectionResetError: they have gone.
    """
    connection = request.transport.get_protocol() if request.transport is not None else None
    if connection is None:
        raise ConnectionResetError("whoever asked has gone")
    if not isinstance(connection, Connection):  # not behind a door
        yield
        return
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(None)

    def end() -> None:
        scope.reschedule(loop.time())

    try:
        async with scope:
            connection.on_lost.add(end)
            try:
                yield
            finally:
                connection.on_lost.discard(end)
    except TimeoutError:
        if not scope.expired():
            raise
        raise ConnectionResetError("whoever asked has gone") from None

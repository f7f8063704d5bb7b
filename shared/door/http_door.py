"""A listening HTTP port."""

import asyncio
import ssl

from aiohttp import web

from schemas.errors import Conflict
from shared.door.connections import Connections
from shared.door.expectation import without_expectation

_SHUTDOWN_SECONDS = 2.0  # requests in flight get this long when the door closes
_HANDSHAKE_SECONDS = 10.0  # of TLS; those who are slower are not there to ask for anything
# A connection without a whole request, from its first byte on; proxies let go of theirs after 60 s at the most.
_IDLE_SECONDS = 75.0


class HttpDoor:
    """The application, listening; over TLS with `tls`."""

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        connections: Connections | None = None,
    ) -> None:
        """`connections` limits those of one address; None: as it comes."""
        self._connections = connections or Connections()
        self._listening: asyncio.Server | None = None
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=_IDLE_SECONDS,
            auto_decompress=False,  # nothing that comes here is worth it, and what unfolds is not bounded
        )
        self._host, self._port, self._tls = host, port, tls

    async def start(self) -> int:
        """Listen; the port, which differs from the one asked for only when that is 0.

        Raises:
            Conflict: the port is taken.
        """
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        server.request_factory = without_expectation(server.request_factory)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                lambda: self._connections.protocol(server),
                self._host,
                self._port,
                ssl=self._tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._tls else None,
            )
        except OSError as error:
            await self._runner.cleanup()
            raise Conflict(
                f"HTTP port {self._port} on {self._host or '*'}: {error.strerror}; free it or set another http_port"
            ) from error
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

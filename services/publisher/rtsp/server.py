"""The server: listens, bounds how many clients there are, and closes those that are gone."""

import asyncio
import contextlib
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.errors import Conflict
from services.publisher.rtsp.connection import Connection
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.credentials import Challenge
from services.publisher.rtsp.feeds import Feeds
from services.publisher.rtsp.messages import MAX_HEAD_BYTES, response
from services.publisher.rtsp.udp import UdpPorts
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_BACKLOG_CONNECTIONS = 64
_FULL_TOLD_SECONDS = 5.0  # connections can come by the thousand; the metric counts each


@dataclass(frozen=True)
class RtspOptions:
    """Where the server listens and for whom."""

    bind: str = "127.0.0.1"
    port: int = 8554
    """0: any free one."""
    udp_port: int = 0
    """Even; RTP there, RTCP at the next. 0: any free pair."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Passwords by name; empty: everybody who reaches the port may pull."""
    max_clients: int = 128
    max_clients_per_address: int = 64
    server: str = "framemesh"


class RtspServer:
    """Serves every rendition of the mesh; lives in the event loop."""

    def __init__(self, options: RtspOptions, feeds: Feeds, counters: RtspCounters) -> None:
        self._options, self._feeds, self._counters = options, feeds, counters
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._undo = contextlib.AsyncExitStack()
        self._udp: UdpPorts | None = None
        self._told_full_s = float("-inf")
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            Conflict: a port is taken.
            Unavailable: there is no free pair of UDP ports.
        """
        options = self._options
        async with contextlib.AsyncExitStack() as undo:
            self._udp = UdpPorts.open(options.bind, options.udp_port)
            undo.callback(self._udp.close)
            try:
                server = await asyncio.start_server(
                    self._accept, options.bind, options.port, limit=MAX_HEAD_BYTES, backlog=_BACKLOG_CONNECTIONS
                )
            except OSError as error:
                raise Conflict(f"RTSP port {options.port} on {options.bind}: {error.strerror}") from None
            undo.callback(server.close)
            self.port = server.sockets[0].getsockname()[1]
            ticker = start_task(self._tick(), "rtsp-tick")
            undo.push_async_callback(end_tasks, ticker)
            self._undo = undo.pop_all()

    @property
    def url(self) -> str:
        """Where a player on this machine finds the streams."""
        bind = self._options.bind
        host = "127.0.0.1" if ipaddress.ip_address(bind).is_unspecified else bind
        return f"rtsp://{f'[{host}]' if ':' in host else host}:{self.port}/"

    async def close(self) -> None:
        """Say goodbye to every client."""
        await self._feeds.close()
        for connection in tuple(self._connections.values()):
            connection.close("the server shuts down")
        await end_tasks(*self._connections)
        await self._undo.aclose()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peername = writer.get_extra_info("peername")
        if peername is None:  # gone already
            writer.close()
            return
        if why := self._full(peername[0]):
            self._counters.refused[453] += 1
            self._tell_full(peername[0], why)
            writer.write(response(453, "", {"Server": self._options.server}))
            writer.close()
            return
        connection = Connection(
            reader,
            writer,
            self._feeds,
            Challenge(self._options.users),
            self._udp,
            self._counters,
            self._options.server,
        )
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = connection
        try:
            await connection.serve()
        except Exception:  # whatever a hostile client found: it is the end of its own connection and of no other
            log.exception("serving %s", connection.peer)
        finally:
            del self._connections[task]

    def _full(self, address: str) -> str:
        connections = self._connections.values()
        if len(connections) >= self._options.max_clients:
            return f"{self._options.max_clients} clients are there"
        own = Counter(connection.peer for connection in connections)[address]
        if own >= self._options.max_clients_per_address:
            return f"{own} clients of this address are there"
        return ""

    def _tell_full(self, address: str, why: str) -> None:
        if (now := time.monotonic()) - self._told_full_s >= _FULL_TOLD_SECONDS:
            self._told_full_s = now
            log.warning("%s: refused: %s", address, why)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for connection in tuple(self._connections.values()):
                connection.tick()

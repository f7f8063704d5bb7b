"""A connection that lasts: reconnects for ever, tells of its server, drains on shutdown."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Self

import nats.errors

from schemas.placements import node_of_domain
from shared.bus.client import ReadingClient
from shared.bus.connecting import DRAIN_TIMEOUT_SECONDS, connect
from shared.bus.outbox import BusStats
from shared.bus.pings import Pings
from shared.bus.reader import ReadingTransport, Receive
from shared.bus.servers import over_web_sockets, server_urls
from shared.bus_access import BusAccess

log = logging.getLogger(__name__)


def _nothing() -> None:
    """Until somebody wants to know."""


class Connection:
    """What the mesh's bus rides on."""

    def __init__(self, url: str, replicas: int = 1) -> None:
        self.url = url
        self.stats = BusStats()
        self._replicas = replicas
        self._client = ReadingClient()
        self._receivers: dict[bytes, Receive] = {}
        """By the number of their subscription; the others' messages go through nats-py."""
        self._reconnect_hooks: list[Callable[[], None]] = []
        self._on_closed: Callable[[], object] = _nothing
        self._pings = Pings(self._client)

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        access: BusAccess | None = None,
        timeout_seconds: float | None = None,
        replicas: int = 1,
    ) -> Self:
        """Connect to the server at `url`, or to the first that answers of several with commas between them.

        Args:
            name: shown by the server's monitoring.
            access: what is shown to the server, and asked of it; read again at each reconnect.
            timeout_seconds: None keeps trying for ever, as a service should.
            replicas: so many servers of a cluster keep the buckets and streams that are opened here.

        Raises:
            InvalidValue: `url` names no server.
            Unavailable: no server within `timeout_seconds`; or it refuses these credentials.
        """
        bus = cls(url, replicas)
        if not over_web_sockets(server_urls(url)[0]):
            bus._client._transport = ReadingTransport(bus._receivers)
        await connect(
            bus._client,
            url,
            name=name,
            access=access or BusAccess(),
            on_refused=bus._refused,
            timeout_seconds=timeout_seconds,
            on_reconnected=bus._reconnected,
            on_closed=bus._closed,
        )
        return bus

    def _reconnected(self) -> None:
        self.stats.reconnects += 1
        for hook in tuple(self._reconnect_hooks):
            hook()

    def _closed(self) -> None:
        self._on_closed()

    def _refused(self) -> None:
        self.stats.refused += 1

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    @property
    def clustered(self) -> bool:
        """Several servers keep the state: one that is lost takes those away for seconds whose leader it was."""
        return self._client.clustered and self.leaf_of is None  # a leaf calls itself a cluster too

    @property
    def leaf_of(self) -> str | None:
        """The node whose leaf the server is; None: it is the hub, or there is no other."""
        return node_of_domain(self._client.domain)

    @property
    def max_payload_bytes(self) -> int:
        """The largest message the server takes."""
        return int(self._client.max_payload)

    def on_reconnect(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call `hook` after every reconnect; returns a function that takes it off again."""
        self._reconnect_hooks.append(hook)
        return lambda: self._reconnect_hooks.remove(hook)

    def on_closed(self, hook: Callable[[], object]) -> None:
        """Call `hook` when the server ends the connection for good, as when credentials have expired; once, and not
        for `drain`."""
        self._on_closed = hook

    @property
    def knows_users(self) -> bool:
        """The server lets nobody in whom it does not know."""
        return bool(self._client._server_info.get("auth_required"))

    # -- ending ----------------------------------------------------------------------------------------------

    async def flush(self, timeout_seconds: float = 1.0) -> None:
        """Wait until everything posted so far has reached the server, or the time is over."""
        await self.answers(timeout_seconds)

    async def answers(self, timeout_seconds: float = 1.0) -> bool:
        """True when the server answers a PING in time: it is there, and has all that was sent before."""
        return await self._pings.answered(timeout_seconds)

    async def drain(self) -> None:
        """Finish what is under way and disconnect. `drain`, not `Service.stop()`: that cancels running handlers."""
        if self._client.is_closed:
            return
        self._client._closed_cb = None
        await self.flush()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS + 1):
                if self._client.is_connected:
                    await self._client.drain()
                else:
                    await self._client.close()
        except (OSError, nats.errors.Error) as error:  # a TimeoutError, or what was unsent when the server went away
            log.debug("drain: %s", error or type(error).__name__)
            with contextlib.suppress(OSError):
                await self._client.close()

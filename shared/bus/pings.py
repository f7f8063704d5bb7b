"""Whether the server answers."""

import asyncio
import logging

from nats.aio.client import Client

log = logging.getLogger(__name__)

_PONG_GIVEN_UP_SECONDS = 15  # longer than a silent server is kept, so that nats-py itself never gives one up


class Pings:
    """A PING is left alone when the time for it is over: nats-py stops reading for good when a PONG comes whose waiter
    was cancelled."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._under_way: set[asyncio.Task[None]] = set()

    async def answered(self, timeout_seconds: float) -> bool:
        """True when the server answers one in time."""
        if not self._client.is_connected:
            return False
        ping = asyncio.create_task(self._client.flush(timeout=_PONG_GIVEN_UP_SECONDS), name="bus-ping")
        self._under_way.add(ping)
        ping.add_done_callback(self._ended)
        done, _ = await asyncio.wait({ping}, timeout=timeout_seconds)
        return bool(done) and not ping.cancelled() and ping.exception() is None

    def _ended(self, ping: asyncio.Task[None]) -> None:
        self._under_way.discard(ping)
        if not ping.cancelled() and (error := ping.exception()):
            log.debug("ping: %s", error or type(error).__name__)

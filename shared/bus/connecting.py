"""How a lasting connection begins: which settings of nats-py it needs, and what is said when it fails."""

import asyncio
import logging
from collections.abc import Callable
from typing import get_args
from urllib.parse import urlsplit

import nats.errors

from schemas.channel import Party
from schemas.errors import Unavailable
from shared.bus.client import ReadingClient
from shared.bus.outbox import MAX_UNSENT_BYTES
from shared.bus.refusals import TURNED_AWAY, Violation, refusal, violation
from shared.bus.servers import server_urls, shown_servers
from shared.bus_access import BusAccess

log = logging.getLogger(__name__)

DRAIN_TIMEOUT_SECONDS = 3
_RECONNECT_WAIT_SECONDS = 0.1  # a restarted server is found again at once; the mesh is few clients, not a herd
_FLUSH_TIMEOUT_SECONDS = 1.0  # nats-py's default lets a publish hang for tens of seconds after a server died
_PING_INTERVAL_SECONDS = 2
_MAX_OUTSTANDING_PINGS = 2  # a silent server (SIGSTOP, partition) is given up after about 6 s
_REFUSED_WAIT_SECONDS = 1.0  # between attempts of one whom the server knows not: its log is for others too
_MOST_TOLD = 100  # subjects that are refused, in the log: whoever asks for thousands is a stranger
# nats-py's own bound, at which `publish` would wait; far enough above the outbox's that it never does.
_PENDING_BYTES = 2 * MAX_UNSENT_BYTES


class _Life:
    """What nats-py calls in the life of one connection: logs, hooks, and whether a first attempt is given up."""

    def __init__(
        self,
        client: ReadingClient,
        shown: str,
        first_attempt: asyncio.Timeout,
        *,
        on_reconnected: Callable[[], None],
        on_closed: Callable[[], object],
        on_refused: Callable[[], None],
    ) -> None:
        self._client = client
        self._shown = shown
        self._first_attempt = first_attempt
        self._on_reconnected = on_reconnected
        self._on_closed = on_closed
        self._on_refused = on_refused
        self._told: set[str] = set()
        self._refused = ""
        self._reset = False
        self._given_up = False
        self.established = False

    async def reconnected(self) -> None:
        self._refused = ""
        log.info("reconnected to NATS at %s", self._shown)
        self._on_reconnected()

    async def disconnected(self) -> None:
        if not self._client.is_closed and not self._client.is_draining:
            log.warning("lost NATS at %s, reconnecting", self._shown)

    async def closed(self) -> None:
        log.error("NATS at %s has closed this connection for good: %s", self._shown, self._client.last_error)
        self._on_closed()

    async def failed(self, error: Exception) -> None:
        self._reset = isinstance(error, ConnectionResetError)
        log.debug("NATS: %s", str(error) or type(error).__name__)
        if (one := violation(error)) is not None:
            self._message_refused(one)
        elif text := refusal(error):
            await self._connection_refused(text)

    def _message_refused(self, one: Violation) -> None:
        self._on_refused()
        self._client.refused(one.subject)
        if len(self._told) < _MOST_TOLD and str(one) not in self._told:
            self._told.add(str(one))
            log.warning("NATS at %s does not let %s %s", self._shown, self._client.party_name, one)

    async def _connection_refused(self, text: str) -> None:
        for_ever = self.established or self._first_attempt.when() is None
        if for_ever and text != self._refused:  # the client tries again and again, and nobody would know why
            log.error("NATS at %s: %s", self._shown, text)
        self._refused = text
        if not for_ever:
            if self._given_up:
                return
            self._given_up = True
            self._first_attempt.reschedule(asyncio.get_running_loop().time())  # who waits at a keyboard is told at once
        await asyncio.sleep(_REFUSED_WAIT_SECONDS)

    def why_not(self) -> str:
        """What the server has against this party; empty where it just does not answer."""
        return self._refused or (TURNED_AWAY if self._reset else "")  # one that just ends resets too: no refusal yet


async def connect(
    client: ReadingClient,
    url: str,
    *,
    name: str,
    access: BusAccess,
    timeout_seconds: float | None,
    on_reconnected: Callable[[], None],
    on_closed: Callable[[], object],
    on_refused: Callable[[], None],
) -> None:
    """Connect `client` for good: it reconnects for ever, and is not closed but by itself and by the server.

    Args:
        on_reconnected: told of each return of the server.
        on_closed: told when the server has ended the connection for good.
        on_refused: told of each message and subscription that the server did not let this party have.

    Raises:
        InvalidValue, BadRequest: a file of `access` cannot be used.
        Unavailable: no server within `timeout_seconds`; or it refuses these credentials.
    """
    shown = shown_servers(url)
    await asyncio.to_thread(access.check)
    client.access = access
    client.party = await asyncio.to_thread(_party, access, url)
    first_attempt = asyncio.timeout(timeout_seconds)
    life = _Life(
        client, shown, first_attempt, on_reconnected=on_reconnected, on_closed=on_closed, on_refused=on_refused
    )
    try:
        async with first_attempt:
            await client.connect(
                server_urls(url),
                name=name,
                allow_reconnect=True,
                dont_randomize=True,  # the first that is named is the nearest one
                max_reconnect_attempts=-1,
                reconnect_time_wait=_RECONNECT_WAIT_SECONDS,  # type: ignore[arg-type]  # floats are fine, the hint is narrow
                connect_timeout=2,
                ping_interval=_PING_INTERVAL_SECONDS,
                max_outstanding_pings=_MAX_OUTSTANDING_PINGS,
                flush_timeout=_FLUSH_TIMEOUT_SECONDS,
                pending_size=_PENDING_BYTES,
                drain_timeout=DRAIN_TIMEOUT_SECONDS,
                reconnected_cb=life.reconnected,
                disconnected_cb=life.disconnected,
                error_cb=life.failed,
                inbox_prefix=f"_INBOX_{client.party}" if client.party else "_INBOX",
            )
    except (TimeoutError, OSError, nats.errors.Error) as error:
        await client.close()
        if said := life.why_not():
            raise Unavailable(f"NATS at {shown}: {said}") from None
        why = "no answer" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise Unavailable(
            f"no NATS server at {shown} ({why}); start one with `framemesh up` or set FRAMEMESH_NATS_URL"
        ) from None
    life.established = True
    client._closed_cb = life.closed  # not before: until here whoever connects is told


def _party(access: BusAccess, url: str) -> str:
    """Which of the server's users this is, where a file or the URL says so: each has an inbox of its own."""
    credentials = access.read_credentials()
    if credentials is not None and not credentials.jwt:
        return credentials.party
    user = credentials.party if credentials else urlsplit(server_urls(url)[0]).username or ""
    return user if user in get_args(Party) else ""  # else somebody's own names, whose inboxes are as ever

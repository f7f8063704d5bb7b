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
from shared.bus.refusals import TURNED_AWAY, refusal, violation
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
    established = given_up = reset = False
    refused = ""
    told: set[str] = set()

    async def reconnected() -> None:
        nonlocal refused
        refused = ""
        log.info("reconnected to NATS at %s", shown)
        on_reconnected()

    async def disconnected() -> None:
        if not client.is_closed and not client.is_draining:
            log.warning("lost NATS at %s, reconnecting", shown)

    async def failed(error: Exception) -> None:
        nonlocal refused, given_up, reset
        reset = isinstance(error, ConnectionResetError)  # also by one that just ends, so that it is no refusal yet
        log.debug("NATS: %s", str(error) or type(error).__name__)
        if (one := violation(error)) is not None:
            on_refused()
            client.refused(one.subject)
            if len(told) < _MOST_TOLD and str(one) not in told:
                told.add(str(one))
                log.warning("NATS at %s does not let %s %s", shown, client.party_name, one)
        elif text := refusal(error):
            if text != refused:  # the client tries for ever, and nobody would know why
                refused = text
                if timeout_seconds is None or established:
                    log.error("NATS at %s: %s", shown, text)
            if timeout_seconds is None or established:
                await asyncio.sleep(_REFUSED_WAIT_SECONDS)
            elif not given_up:
                given_up = True
                deadline.reschedule(asyncio.get_running_loop().time())  # who waits at a keyboard is told at once
                await asyncio.sleep(_REFUSED_WAIT_SECONDS)

    async def closed() -> None:
        log.error("NATS at %s has closed this connection for good: %s", shown, client.last_error)
        on_closed()

    try:
        async with asyncio.timeout(timeout_seconds) as deadline:
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
                reconnected_cb=reconnected,
                disconnected_cb=disconnected,
                error_cb=failed,
                inbox_prefix=f"_INBOX_{client.party}" if client.party else "_INBOX",
            )
    except (TimeoutError, OSError, nats.errors.Error) as error:
        await client.close()
        if refused or reset:
            raise Unavailable(f"NATS at {shown}: {refused or TURNED_AWAY}") from None
        why = "no answer" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise Unavailable(
            f"no NATS server at {shown} ({why}); start one with `framemesh up` or set FRAMEMESH_NATS_URL"
        ) from None
    established = True
    client._closed_cb = closed  # not before: until here whoever connects is told


def _party(access: BusAccess, url: str) -> str:
    """Which of the server's users this is, where a file or the URL says so: each has an inbox of its own."""
    credentials = access.read_credentials()
    if credentials is not None and not credentials.jwt:
        return credentials.party
    user = credentials.party if credentials else urlsplit(server_urls(url)[0]).username or ""
    return user if user in get_args(Party) else ""  # else somebody's own names, whose inboxes are as ever

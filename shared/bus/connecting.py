"""How a lasting connection begins: which settings of nats-py it needs, and what is said when it fails."""

import asyncio
import logging
from collections.abc import Callable

import nats.errors

from schemas.errors import Unavailable
from shared.bus.client import ReadingClient
from shared.bus.outbox import MAX_UNSENT_BYTES
from shared.urls import redact

log = logging.getLogger(__name__)

DRAIN_TIMEOUT_SECONDS = 3
_RECONNECT_WAIT_SECONDS = 0.1  # a restarted server is found again at once; the mesh is few clients, not a herd
_FLUSH_TIMEOUT_SECONDS = 1.0  # nats-py's default lets a publish hang for tens of seconds after a server died
_PING_INTERVAL_SECONDS = 2
_MAX_OUTSTANDING_PINGS = 2  # a silent server (SIGSTOP, partition) is given up after about 6 s
# nats-py's own bound, at which `publish` would wait; far enough above the outbox's that it never does.
_PENDING_BYTES = 2 * MAX_UNSENT_BYTES


async def connect(
    client: ReadingClient,
    url: str,
    *,
    name: str,
    credentials_file: str | None,
    timeout_seconds: float | None,
    on_reconnected: Callable[[], None],
    on_closed: Callable[[], object],
) -> None:
    """Connect `client` for good: it reconnects for ever, and is not closed but by itself and by the server.

    Args:
        on_reconnected: told of each return of the server.
        on_closed: told when the server has ended the connection for good.

    Raises:
        Unavailable: no server within `timeout_seconds`; or it refuses these credentials.
    """
    shown = redact(url)[0]
    refused = ""

    async def reconnected() -> None:
        log.info("reconnected to NATS at %s", shown)
        on_reconnected()

    async def disconnected() -> None:
        if not client.is_closed and not client.is_draining:
            log.warning("lost NATS at %s, reconnecting", shown)

    async def failed(error: Exception) -> None:
        nonlocal refused
        text = str(error) or type(error).__name__
        if "authoriz" in text.lower() and not refused:
            # The client would try for ever, and nobody would know why.
            refused = text
            log.error("NATS at %s refuses these credentials (%s); set FRAMEMESH_NATS_CREDENTIALS", shown, text)
        log.debug("NATS: %s", text)

    async def closed() -> None:
        log.error("NATS at %s has closed this connection for good: %s", shown, client.last_error)
        on_closed()

    try:
        async with asyncio.timeout(timeout_seconds):
            await client.connect(
                url,
                name=name,
                allow_reconnect=True,
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
                user_credentials=credentials_file,
            )
    except (TimeoutError, OSError, nats.errors.Error) as error:
        await client.close()
        if refused:
            raise Unavailable(
                f"NATS at {shown} refuses these credentials ({refused}); set FRAMEMESH_NATS_CREDENTIALS"
            ) from None
        why = "no answer" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise Unavailable(
            f"no NATS server at {shown} ({why}); start one with `framemesh up` or set FRAMEMESH_NATS_URL"
        ) from None
    client._closed_cb = closed  # not before: until here whoever connects is told

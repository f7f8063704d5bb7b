"""Waiting for a server's JetStream: right after its start a server answers before it does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from schemas.errors import Forbidden, MeshError, Unavailable
from shared.bus.client import ReadingClient
from shared.bus.refusals import NotAllowed
from shared.bus.replicas import TooFewServers

log = logging.getLogger(__name__)

CALL_TIMEOUT_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 0.2
_START_ATTEMPTS = 25
_CLUSTER_START_ATTEMPTS = 150


async def when_jetstream_answers(
    what: str, attempt: Callable[[], Awaitable[object]], jetstream: JetStreamContext
) -> None:
    """Run `attempt` until it succeeds: right after its start a server answers before its JetStream does.

    Raises:
        InvalidValue: there are fewer servers than it asks for.
        Forbidden: this party may not.
        Unavailable: not within about 5 s, of waiting for an answer not included; in a cluster, whose servers first have
            to find each other, 30 s.
    """
    refused: MeshError | None = None
    said = ""
    client = jetstream._nc
    clustered = isinstance(client, ReadingClient) and client.clustered
    for number in range(_CLUSTER_START_ATTEMPTS if clustered else _START_ATTEMPTS):
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                await attempt()
            return
        except TooFewServers as error:
            refused = error
            if not error.may_pass or number >= _START_ATTEMPTS:
                break
        except NotAllowed as error:
            raise Forbidden(f"{error}; where {what} is missing, `framemesh nats-setup` makes it") from None
        except (nats.errors.Error, TimeoutError) as error:
            log.debug("%s, attempt %d: %s", what, number, error or type(error).__name__)
            said = (error.description or "") if isinstance(error, APIError) else ""
        await asyncio.sleep(RETRY_SECONDS)
    if refused is not None:
        raise refused
    if said:
        raise Unavailable(f"JetStream does not take {what}: {said}; see the limits in the server's configuration")
    raise Unavailable(f"JetStream does not answer at this server; framemesh needs it (nats-server -js) for {what}")

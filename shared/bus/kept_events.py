"""The stream that keeps events, so that who comes later hears of them too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from schemas.errors import Forbidden, Unavailable
from schemas.subjects import EVENTS_STREAM, all_events
from shared.bus.jetstream_ready import when_jetstream_answers
from shared.bus.refusals import NotAllowed
from shared.bus.replicas import fit_replicas, same_or_raise
from shared.bus.subscription import Message

log = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_AGE_SECONDS = 7 * 86_400
_MAX_BYTES = 64 * 1024 * 1024
_READ_AT_ONCE = 50  # requests on their way; more would only wait in the server
_READ_SECONDS = 10.0  # of asking again, where 500 events take 0.05 s: a server that is so late has other troubles


async def ensure_events(jetstream: JetStreamContext, replicas: int = 1) -> None:
    """Make it where it does not exist, kept by `replicas` servers.

    Raises:
        InvalidValue: there are not so many.
        Unavailable: the server has no JetStream.
    """
    config = StreamConfig(
        name=EVENTS_STREAM,
        subjects=[all_events()],
        max_age=_MAX_AGE_SECONDS,
        max_bytes=_MAX_BYTES,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        num_replicas=replicas,
    )

    async def ensure() -> None:
        try:
            await jetstream.stream_info(EVENTS_STREAM)
        except NotFoundError:
            try:
                await jetstream.add_stream(config)
            except APIError as error:  # another service made it first
                same_or_raise(error, replicas)
                log.debug("events stream: %s", error)
        await fit_replicas(jetstream, EVENTS_STREAM, replicas)

    await when_jetstream_answers(EVENTS_STREAM, ensure, jetstream)


async def read_events(jetstream: JetStreamContext, after: int, most: int) -> tuple[int, list[Message]]:
    """The newest `most` behind number `after` of the stream, the oldest first; and the number of the last one.

    Raises:
        Unavailable: JetStream does not answer.
    """

    loop = asyncio.get_running_loop()
    deadline = loop.time() + _READ_SECONDS

    async def asked(request: Callable[[], Awaitable[T]]) -> T:
        """One that a busy server answers late is asked for again, and not all of them."""
        while True:
            try:
                return await request()
            except TimeoutError:
                if loop.time() >= deadline:
                    raise

    async def one(sequence: int) -> Message | None:
        try:
            kept = await asked(lambda: jetstream.get_msg(EVENTS_STREAM, sequence))
        except NotFoundError:  # too old meanwhile
            return None
        return Message(kept.subject or "", kept.data or b"")

    try:
        state = (await asked(lambda: jetstream.stream_info(EVENTS_STREAM))).state
        # Another stream, which counts from the start again, has fewer than we know of.
        first = max(state.first_seq, state.last_seq - most + 1, after + 1 if after <= state.last_seq else 1)
        found: list[Message | None] = []
        for start in range(first, state.last_seq + 1, _READ_AT_ONCE):
            found += await asyncio.gather(*map(one, range(start, min(start + _READ_AT_ONCE, state.last_seq + 1))))
    except NotAllowed as error:
        raise Forbidden(f"{error}; see who may in ops/nats/permissions.md") from None
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"the kept events cannot be read ({type(error).__name__}); try again") from None
    return state.last_seq, [message for message in found if message is not None]

"""Every change of a bucket, told and not kept: for buckets that are too large to have a copy of."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from nats.js.kv import KV_DEL, KV_OP, KV_PURGE

from schemas.errors import Unavailable
from shared.bus.jetstream_ready import CALL_TIMEOUT_SECONDS, RETRY_SECONDS
from shared.bus.kv import Bucket
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0  # so often it is looked whether the server still knows us
_FORGOTTEN_SECONDS = 5.0  # how long the server keeps the place of one that has gone


class Change(NamedTuple):
    key: str
    value: bytes | None
    """None: the key was removed."""
    written_s: float
    """Of the server's clock, since 1970."""


class Follower:
    """Tells of everything under `keys`, in the order in which it was written last, then of each change, until `close`.

    After a restart of the server it goes on where it was. What the bucket drops by age is not told of.
    """

    def __init__(
        self, bucket: Bucket, keys: str, on_change: Callable[[Change], None], on_lost: Callable[[], None]
    ) -> None:
        """`on_lost`: the bucket was emptied, or is another one now; everything there is follows."""
        self._bucket, self._keys = bucket, keys
        self._on_change, self._on_lost = on_change, on_lost
        self._seen = 0
        """The newest write that was told, by its number in the bucket."""
        self._told = 0
        """How many since the server was last asked for them: it numbers what it sends."""
        self._missed = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._again = asyncio.Event()
        self._forget_hook = bucket.bus.on_reconnect(self._again.set)
        self._task = start_task(self._run(), f"follow {bucket.name}")

    async def caught_up(self, timeout_seconds: float) -> bool:
        """Wait until all that there was at the start has been told; False when the time is over first."""
        return await set_within(self._caught_up, timeout_seconds)

    def look_again(self) -> None:
        """Go on where it was, as after a reconnect: the bucket was out of reach, and is not any more."""
        self._again.set()

    async def close(self) -> None:
        self._forget_hook()
        await end_tasks(self._task)

    async def _run(self) -> None:
        while True:
            self._again.clear()
            following = asyncio.create_task(self._follow(), name=f"follow {self._bucket.name} from {self._seen}")
            again = asyncio.create_task(self._again.wait(), name="reconnected")
            try:
                await asyncio.wait({following, again}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
            except (nats.errors.Error, Unavailable, TimeoutError) as error:
                log.debug("changes of %s: %s", self._bucket.name, error or type(error).__name__)
                # Waits for the reconnect hook, or a moment when the server is there but not ready.
                await set_within(self._again, RETRY_SECONDS)
            finally:
                await end_tasks(following, again)

    async def _follow(self) -> None:
        async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
            await self._bucket.open()
            newest = await self._bucket.last_sequence()
            if newest < self._seen:
                self._seen = 0
                self._on_lost()
            self._told = 0
            self._missed.clear()
            subscription = await self._bucket.changes(self._keys, self._place(), self._receive)
        try:
            while True:
                async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                    place = await subscription.consumer_info()
                if not place.num_pending and place.delivered and place.delivered.consumer_seq <= self._told:
                    self._caught_up.set()  # nothing that was to be told is still on its way
                if await set_within(self._missed, _LOOK_SECONDS):
                    return
        except NotFoundError:
            raise Unavailable(f"the server has forgotten who follows {self._bucket.name}") from None
        finally:
            try:
                async with asyncio.timeout(1):
                    await subscription.unsubscribe()
            except (nats.errors.Error, TimeoutError):
                log.debug("the place in %s ended with its connection", self._bucket.name)

    def _place(self) -> ConsumerConfig:
        return ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE if self._seen else DeliverPolicy.ALL,
            opt_start_seq=self._seen + 1 if self._seen else None,
            inactive_threshold=_FORGOTTEN_SECONDS,
            mem_storage=True,
        )

    async def _receive(self, message: Msg) -> None:
        metadata = message.metadata
        if metadata.sequence.consumer != self._told + 1:  # of an earlier place, or one before it was lost on its way
            self._missed.set()
            return
        self._told += 1
        self._seen = metadata.sequence.stream
        self._tell(message, metadata.timestamp.timestamp())
        if not metadata.num_pending:
            self._caught_up.set()

    def _tell(self, message: Msg, written_s: float) -> None:
        removed = message.headers is not None and message.headers.get(KV_OP) in (KV_DEL, KV_PURGE)
        key = self._bucket.key_of(message.subject)
        try:
            self._on_change(Change(key, None if removed else message.data, written_s))
        except Exception:  # a listener's bug must not end this: everything that follows depends on it
            log.exception("change of %s in %s", key, self._bucket.name)

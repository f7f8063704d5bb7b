"""Key-value buckets with compare-and-set."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, Header, KeyValueConfig, StorageType
from nats.js.errors import (
    APIError,
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NotFoundError,
)
from nats.js.kv import KV_OP, KV_PURGE, MSG_ROLLUP_SUBJECT, KeyValue

from schemas.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from shared.bus.connection import Bus

log = logging.getLogger(__name__)

CALL_TIMEOUT_SECONDS = 5.0
DEFAULT_BUCKET_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 0.2
# How long the server keeps a watch that nobody listens to any more. nats-py's five minutes let those who ask for the
# state now and then pile up watches by the thousand, and the server slowed down until it did not answer in time.
_FORGOTTEN_SECONDS = 5.0
_HEARTBEAT_SECONDS = 5.0  # JetStream's flow control asks for one
_STORE_FAILED = 10077  # error code of JetStream: with the limit that was reached as its text
_WRONG_LAST_SEQUENCE = (10071, 10164)  # error codes of JetStream, which nats-py maps for updates only


class BucketFull(Unavailable):
    """It takes no more until what is in it is removed or lapses: trying again does not help."""


class Entry(NamedTuple):
    key: str
    value: bytes
    revision: int


class Bucket:
    """One key-value bucket."""

    def __init__(self, bus: "Bus", jetstream: JetStreamContext, config: KeyValueConfig) -> None:
        self.name = config.bucket
        self._prefix = f"$KV.{config.bucket}."
        self.bus = bus
        self._jetstream = jetstream
        self._config = config
        self._kv: KeyValue | None = None

    async def open(self) -> KeyValue:
        """The bucket, made where it does not exist (memory buckets vanish with the server)."""
        try:
            self._kv = await self._jetstream.key_value(self.name)
        except BucketNotFoundError:
            try:
                self._kv = await self._jetstream.create_key_value(self._config)
            except APIError as error:  # another service made it between the two calls
                log.debug("bucket %s: %s", self.name, error)
                self._kv = await self._jetstream.key_value(self.name)
        return self._kv

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        """The current value, or the one of an earlier revision that the bucket's history still has; else None."""
        async with self._answered(key):
            try:
                entry = await (self._kv or await self.open()).get(key, revision)
            except KeyNotFoundError:
                return None
        return Entry(key, entry.value or b"", entry.revision or 0)

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there; returns the new revision.

        Raises:
            Unavailable: the bus did not take it in time.
        """
        async with self._answered(key):
            try:
                return await (self._kv or await self.open()).put(key, value)
            except (NotFoundError, nats.errors.NoRespondersError):  # a memory bucket after a server restart
                return await (await self.open()).put(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Compare-and-set: write when the key's revision still is `revision` (0: does not exist).

        Raises:
            Conflict: somebody else was first.
            Unavailable: the bus did not take it in time.
        """
        async with self._answered(key):
            kv = self._kv or await self.open()
            return await (kv.update(key, value, last=revision) if revision else kv.create(key, value))

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Remove the key; with `revision` only when it still has that revision.

        Raises:
            Conflict: somebody else was first.
            Unavailable: the bus did not take it in time.
        """
        async with self._answered(key):
            await (self._kv or await self.open()).delete(key, last=revision)

    async def purge(self, key: str, revision: int | None = None) -> None:
        """Remove the key and every earlier revision of it; with `revision` only when it still has that revision.

        Raises:
            Conflict: somebody else was first.
            Unavailable: the bus did not take it in time.
        """
        # As nats-py's own purge, which cannot be told a revision.
        headers = {KV_OP: KV_PURGE, Header.ROLLUP: MSG_ROLLUP_SUBJECT}
        if revision is not None:
            headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(revision)
        async with self._answered(key):
            await self._jetstream.publish(f"{self._prefix}{key}", headers=headers)

    async def entries(self, keys: str = ">") -> dict[str, Entry]:
        """Everything under `keys` (a subject pattern) right now."""
        async with self._answered(keys):
            watcher = await self.watch(keys)
            try:
                return await self.snapshot(watcher, keys)
            finally:
                await watcher.stop()  # type: ignore[no-untyped-call]

    async def watch(self, keys: str, *, afresh: bool = False) -> KeyValue.KeyWatcher:
        """A watch of `keys`; whoever made it stops it. `afresh`: the bucket may have vanished with its server."""
        kv = self._kv if self._kv and not afresh else await self.open()
        return await kv.watch(keys, inactive_threshold=_FORGOTTEN_SECONDS)

    async def changes(
        self, keys: str, place: ConsumerConfig, receive: Callable[[Msg], Awaitable[None]]
    ) -> JetStreamContext.PushSubscription:
        """What was written under `keys` from `place` on; whoever asked for it unsubscribes it."""
        return await self._jetstream.subscribe(
            f"{self._prefix}{keys}",
            stream=f"KV_{self.name}",
            config=place,
            cb=receive,
            manual_ack=True,
            flow_control=True,
            idle_heartbeat=_HEARTBEAT_SECONDS,
        )

    def key_of(self, subject: str) -> str:
        """The key whose writes come under `subject`."""
        return subject.removeprefix(self._prefix)

    async def snapshot(self, watcher: KeyValue.KeyWatcher, keys: str) -> dict[str, Entry]:
        """What a new watch of `keys` lists before it follows changes.

        nats-py takes a watch for empty when nothing is pending and nothing has come, but what is no longer pending
        may still be on its way: an empty listing is believed only when the server counts no keys.
        """
        found: dict[str, Entry] = {}
        listed = on_the_way = False
        while True:
            update = await watcher.updates(timeout=CALL_TIMEOUT_SECONDS)  # type: ignore[no-untyped-call]
            if update is None:
                if listed or not await self._count(keys):
                    return found
                on_the_way = True
                continue
            if not isinstance(update, KeyValue.Entry):
                raise NotFound("the watch was stopped")
            listed = True  # also by a deleted key, which is all there may be
            if update.operation in ("DEL", "PURGE"):
                found.pop(update.key, None)
            else:
                found[update.key] = Entry(update.key, update.value or b"", update.revision or 0)
            if on_the_way and not update.delta:  # the last of those that were on their way; no end mark follows it
                return found

    async def _count(self, keys: str) -> int:
        """How many keys there are under `keys`, deleted ones included."""
        info = await self._jetstream.stream_info(f"KV_{self.name}", subjects_filter=f"{self._prefix}{keys}")
        return len(info.state.subjects or {})

    async def last_sequence(self) -> int:
        """Sequence of the newest write to the bucket, of any key."""
        status = await (self._kv or await self.open()).status()
        return int(status.stream_info.state.last_seq)

    @contextlib.asynccontextmanager
    async def _answered(self, key: str) -> AsyncIterator[None]:
        """A deadline for what is asked of the server, and its errors as the mesh's own."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                yield
        except (nats.errors.Error, TimeoutError) as error:
            if isinstance(error, KeyWrongLastSequenceError) or (
                isinstance(error, APIError) and error.err_code in _WRONG_LAST_SEQUENCE
            ):
                raise Conflict(f"{key} was changed meanwhile; read it again and retry") from None
            if (
                isinstance(error, APIError)
                and error.err_code == _STORE_FAILED
                and "maximum" in (error.description or "")
            ):
                raise BucketFull(
                    f"{self.name} is full on the bus, with {self._config.max_bytes} bytes; give it more with "
                    f"`nats stream edit KV_{self.name} --max-bytes`, or wait until what is in it lapses"
                ) from None
            raise Unavailable(f"the bus did not answer for {self.name} ({type(error).__name__}); try again") from None


async def open_bucket(
    jetstream: JetStreamContext,
    bus: "Bus",
    name: str,
    *,
    ttl_seconds: float | None,
    memory: bool,
    history: int,
    max_bytes: int,
) -> Bucket:
    config = KeyValueConfig(
        bucket=name,
        history=history,
        ttl=ttl_seconds,
        storage=StorageType.MEMORY if memory else StorageType.FILE,
        max_bytes=max_bytes,
        direct=True,
    )
    bucket = Bucket(bus, jetstream, config)
    await when_jetstream_answers(name, bucket.open)
    return bucket


async def when_jetstream_answers(what: str, attempt: Callable[[], Awaitable[object]]) -> None:
    """Run `attempt` until it succeeds: right after its start a server answers before its JetStream does.

    Raises:
        Unavailable: not within about 5 s.
    """
    for number in range(25):
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                await attempt()
            return
        except (nats.errors.Error, TimeoutError) as error:
            log.debug("%s, attempt %d: %s", what, number, error or type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
    raise Unavailable(f"JetStream does not answer at this server; framemesh needs it (nats-server -js) for {what}")

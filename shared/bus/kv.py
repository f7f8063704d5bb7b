"""One key-value bucket, with compare-and-set."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, Header, KeyValueConfig
from nats.js.errors import (
    APIError,
    BucketNotFoundError,
    KeyNotFoundError,
    NoStreamResponseError,
    NotFoundError,
    ServiceUnavailableError,
)
from nats.js.kv import KV_OP, KV_PURGE, MSG_ROLLUP_SUBJECT, KeyValue

from schemas.buckets import form_of
from schemas.trace import TRACEPARENT
from shared.bus.jetstream_ready import CALL_TIMEOUT_SECONDS, RETRY_SECONDS
from shared.bus.kv_errors import bucket_error, changed_meanwhile, last_revision_in
from shared.bus.own_keys import read_own_key
from shared.bus.refusals import NotAllowed
from shared.bus.replicas import same_or_raise
from shared.bus.watching import FORGOTTEN_SECONDS, listed_by, with_heartbeat
from shared.cause import TOLD_SECONDS

if TYPE_CHECKING:
    from shared.bus.bus import Bus

log = logging.getLogger(__name__)
T = TypeVar("T")

# Servers that lose the leader of a bucket choose another 4 to 9 s later, and nothing can be set about that.
_ELECTION_SECONDS = 9.0
_BEHIND_SECONDS = 0.02  # a server of the same cluster has a write within some milliseconds of its leader
_HEARTBEAT_SECONDS = 5.0  # JetStream's flow control asks for one
_CAUSE_SECONDS = 0.5  # a server that is there answers within a millisecond
_NO_REVISION = str(2**63 - 1)  # that no key ever has


class Entry(NamedTuple):
    key: str
    value: bytes
    revision: int


class Bucket:
    """One key-value bucket."""

    revisions_grow = True
    """With each write; not those of a copy, whose original may be another one by now."""

    def __init__(self, bus: "Bus", jetstream: JetStreamContext, config: KeyValueConfig) -> None:
        self.name = config.bucket
        self._prefix = f"$KV.{config.bucket}."
        self.bus = bus
        self._jetstream = jetstream
        self._config = config
        self._kv: KeyValue | None = None
        self._leaderless = False
        """Of what was asked last: no server answered for the bucket."""

    async def open(self) -> KeyValue:
        """The bucket, made where it does not exist (memory buckets vanish with the server)."""
        try:
            self._kv = await self._jetstream.key_value(self.name)
        except BucketNotFoundError:
            try:
                self._kv = await self._jetstream.create_key_value(self._config)
            except APIError as error:  # another service made it between the two calls
                same_or_raise(error, self._config.replicas)
                log.debug("bucket %s: %s", self.name, error)
                self._kv = await self._jetstream.key_value(self.name)
        return self._kv

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        """The current value, or the one of an earlier revision that the bucket's history still has; else None."""
        async with self._answered(key):
            return await self._with_leader(lambda: self._read(self._get(key, revision)))

    async def _get(self, key: str, revision: int | None) -> Entry | None:
        kv = self._kv or await self.open()
        try:
            if form_of(self.name).own_keys and not kv._direct:
                subject = f"{self._prefix}{key}"
                own = await read_own_key(self._jetstream, f"KV_{self.name}", subject, revision, CALL_TIMEOUT_SECONDS)
                return Entry(key, *own) if own else None
            entry = await kv.get(key, revision)
        except KeyNotFoundError:
            return None
        return self.entry_of(entry)

    async def cause(self, key: str, revision: int | None = None) -> str:
        """What led to a write of `key`, as `traceparent`; None: to the last one, which may be its removal. Empty: that
        is not known, or not in time; nobody has to wait for a story."""
        try:
            async with asyncio.timeout(_CAUSE_SECONDS):
                kept = await self._jetstream.get_msg(
                    f"KV_{self.name}",
                    seq=revision,
                    subject=None if revision else f"{self._prefix}{key}",
                    direct=(self._kv or await self.open())._direct,
                )
        except (nats.errors.Error, TimeoutError) as error:
            log.debug("cause of %s: %s", key, error or type(error).__name__)
            return ""
        if kept.time is None or (datetime.now(UTC) - kept.time).total_seconds() > TOLD_SECONDS:
            return ""  # who acts on it only now was started since
        return str((kept.headers or {}).get(TRACEPARENT, ""))

    async def newest(self, key: str) -> Entry | None:
        """As `get`, for who changes what is there. In a cluster any server that has the bucket answers `get`: it may be
        a moment behind, and one that is cut off stays behind, so the leader is asked whether that is the last write.

        Raises:
            Unavailable: the bus does not answer.
        """
        if not self.bus.clustered:
            return await self.get(key)
        async with self._answered(key):
            return (await self._with_leader(lambda: self._read(self._look_at_newest(key))))[0]

    async def _look_at_newest(self, key: str) -> tuple[Entry | None, int]:
        while True:
            found, revision = await self._look(key)
            if revision == await self._last_revision(key):
                return found, revision
            await asyncio.sleep(_BEHIND_SECONDS)

    async def _look(self, key: str) -> tuple[Entry | None, int]:
        """The current value, and the revision of the last write, which may be its removal."""
        try:
            entry = await (self._kv or await self.open()).get(key)
        except KeyNotFoundError as error:
            removed = error.entry.revision if error.entry else 0
            return None, removed or 0
        return Entry(key, entry.value or b"", entry.revision or 0), entry.revision or 0

    async def _last_revision(self, key: str) -> int:
        """Of the last write of `key`, as the leader has it, who says it where it refuses one: the only question that
        permissions tell from one about another key."""
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: _NO_REVISION}
        try:
            await self._jetstream.publish(f"{self._prefix}{key}", headers=headers)
        except APIError as error:
            last = last_revision_in(error)
            if last is None:
                raise
            return last
        raise AssertionError("no key has that revision")

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there; returns the new revision.

        Raises:
            Unavailable: the bus did not take it in time.
        """

        async def put() -> int:
            try:
                return await (self._kv or await self.open()).put(key, value)
            except (NotFoundError, nats.errors.NoRespondersError):  # a memory bucket after a server restart
                return await (await self.open()).put(key, value)
            except NotAllowed:
                raise
            except TimeoutError:  # its server was lost, or the leader was; twice is as well as once
                if not self.bus.clustered:
                    raise
                raise NoStreamResponseError from None

        async with self._answered(key):
            return await self._with_leader(put)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Compare-and-set: write when the key's revision still is `revision` (0: does not exist).

        Raises:
            Conflict: somebody else was first.
            Unavailable: the bus did not take it in time.
        """

        async def update() -> int:
            kv = self._kv or await self.open()
            try:
                return await (kv.update(key, value, last=revision) if revision else kv.create(key, value))
            except NotAllowed:
                raise
            except TimeoutError:
                if not self.bus.clustered:
                    raise
            # Whether it was taken is not known: its server was lost, or the leader was.
            found, last = await self._look_at_newest(key)
            if found is not None and found.value == value and last > revision:
                return last
            if last != revision and (found is not None or revision):
                raise changed_meanwhile(key)
            raise NoStreamResponseError  # it was not: again

        async with self._answered(key):
            return await self._with_leader(update)

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Remove the key; with `revision` only when it still has that revision.

        Raises:
            Conflict: somebody else was first.
            Unavailable: the bus did not take it in time.
        """

        async def delete() -> None:
            await (self._kv or await self.open()).delete(key, last=revision)

        async with self._answered(key):
            await self._with_leader(delete)

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
            await self._with_leader(lambda: self._jetstream.publish(f"{self._prefix}{key}", headers=headers))

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
        if self.bus.clustered:
            kv = KeyValue(self.name, f"KV_{self.name}", self._prefix, with_heartbeat(self._jetstream), direct=True)
        return await kv.watch(keys, inactive_threshold=FORGOTTEN_SECONDS)

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

    def entry_of(self, kept: KeyValue.Entry) -> Entry:
        """What was written, of what the server keeps."""
        return Entry(kept.key, kept.value or b"", kept.revision or 0)

    def key_of(self, subject: str) -> str:
        """The key whose writes come under `subject`."""
        return subject.removeprefix(self._prefix)

    async def snapshot(
        self, watcher: KeyValue.KeyWatcher, keys: str, on_listed: Callable[[], None] = lambda: None
    ) -> dict[str, Entry]:
        """What a new watch of `keys` lists before it follows changes; `on_listed` is called for each as it comes.

        Raises:
            NotFound: the watch was stopped.
        """
        listed = await listed_by(watcher, lambda: self._count(keys), on_listed)
        return {key: self.entry_of(entry) for key, entry in listed.items()}

    async def _count(self, keys: str) -> int:
        """How many keys there are under `keys`, deleted ones included."""
        info = await self._jetstream.stream_info(f"KV_{self.name}", subjects_filter=f"{self._prefix}{keys}")
        return len(info.state.subjects or {})

    async def last_sequence(self) -> int:
        """Sequence of the newest write to the bucket, of any key."""
        status = await (self._kv or await self.open()).status()
        return int(status.stream_info.state.last_seq)

    async def _read(self, asking: Awaitable[T]) -> T:
        """What is asked for; in a cluster one that nobody answers may be asked again: its server was lost, or the
        leader, which answers where there are no direct gets."""
        try:
            return await asking
        except NotAllowed:
            raise
        except TimeoutError:
            if not self.bus.clustered:
                raise
            raise NoStreamResponseError from None

    async def _with_leader(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """`attempt`, in a cluster again for as long as the bucket has no leader: nothing was written then."""
        while True:
            try:
                return await attempt()
            except (NoStreamResponseError, ServiceUnavailableError):
                if not self.bus.clustered:
                    raise
                self._leaderless = True
            await asyncio.sleep(RETRY_SECONDS)

    @contextlib.asynccontextmanager
    async def _answered(self, key: str) -> AsyncIterator[None]:
        """A deadline for what is asked of the server, and its errors as the mesh's own."""
        self._leaderless = False
        try:
            async with asyncio.timeout(_ELECTION_SECONDS if self.bus.clustered else CALL_TIMEOUT_SECONDS):
                yield
        except (nats.errors.Error, TimeoutError) as error:
            raise bucket_error(
                error,
                self.name,
                key,
                self._config.max_bytes or 0,
                leaderless=self._leaderless,
                clustered=self.bus.clustered,
            ) from None

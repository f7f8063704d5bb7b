"""Key-value buckets with compare-and-set, and mirrors that stay true across server restarts.

A plain KV watch misses every put for about 20 s after nats-server was killed. A mirror therefore makes a new
watch and lists everything again on each reconnect, and every few seconds compares the bucket's last sequence
with what it has seen.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import Header, KeyValueConfig, StorageType
from nats.js.errors import (
    APIError,
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NotFoundError,
)
from nats.js.kv import KV_OP, KV_PURGE, MSG_ROLLUP_SUBJECT, KeyValue

from schemas.errors import Conflict, NotFound, Unavailable
from shared.tasks import end_tasks, set_within, start_task

if TYPE_CHECKING:
    from shared.bus.connection import Bus

log = logging.getLogger(__name__)

_RESYNC_SECONDS = 5.0
_SNAPSHOT_TIMEOUT_SECONDS = 5.0
_RETRY_SECONDS = 0.2
_CALL_TIMEOUT_SECONDS = 5.0
_WRONG_LAST_SEQUENCE = (10071, 10164)  # error codes of JetStream, as nats-py maps them for updates


class Entry(NamedTuple):
    key: str
    value: bytes
    revision: int


class Bucket:
    """One key-value bucket."""

    def __init__(self, bus: "Bus", jetstream: JetStreamContext, config: KeyValueConfig) -> None:
        self.name = config.bucket
        self._bus = bus
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
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                entry = await (self._kv or await self.open()).get(key, revision)
        except KeyNotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from None
        return Entry(key, entry.value or b"", entry.revision or 0)

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there; returns the new revision.

        Raises:
            Unavailable: the bus did not take it in time.
        """
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                try:
                    return await (self._kv or await self.open()).put(key, value)
                except (NotFoundError, nats.errors.NoRespondersError):  # a memory bucket after a server restart
                    return await (await self.open()).put(key, value)
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from None

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Compare-and-set: write when the key's revision still is `revision` (0: does not exist).

        Raises:
            Conflict: somebody else was first.
            Unavailable: the bus did not take it in time.
        """
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                kv = self._kv or await self.open()
                return await (kv.update(key, value, last=revision) if revision else kv.create(key, value))
        except KeyWrongLastSequenceError:
            raise Conflict(f"{key} was changed meanwhile; read it again and retry") from None
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from None

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Remove the key; with `revision` only when it still has that revision.

        Raises:
            Conflict: somebody else was first.
            Unavailable: the bus did not take it in time.
        """
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                await (self._kv or await self.open()).delete(key, last=revision)
        except APIError as error:
            if error.err_code in _WRONG_LAST_SEQUENCE:
                raise Conflict(f"{key} was changed meanwhile; read it again and retry") from None
            raise self._unavailable(error) from None
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from None

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
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                await self._jetstream.publish(f"$KV.{self.name}.{key}", headers=headers)
        except APIError as error:
            if error.err_code in _WRONG_LAST_SEQUENCE:
                raise Conflict(f"{key} was changed meanwhile; read it again and retry") from None
            raise self._unavailable(error) from None
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from None

    async def entries(self, keys: str = ">") -> dict[str, Entry]:
        """Everything under `keys` (a subject pattern) right now."""
        try:
            async with asyncio.timeout(_SNAPSHOT_TIMEOUT_SECONDS):
                watcher = await (self._kv or await self.open()).watch(keys)
                try:
                    return await self.snapshot(watcher, keys)
                finally:
                    await watcher.stop()  # type: ignore[no-untyped-call]
        except (nats.errors.Error, TimeoutError) as error:
            raise self._unavailable(error) from None

    async def snapshot(self, watcher: KeyValue.KeyWatcher, keys: str) -> dict[str, Entry]:
        """What a new watch of `keys` lists before it follows changes.

        nats-py takes a watch for empty when nothing is pending and nothing has come, but what is no longer pending
        may still be on its way: an empty listing is believed only when the server counts no keys.
        """
        found: dict[str, Entry] = {}
        listed = on_the_way = False
        while True:
            update = await watcher.updates(timeout=_SNAPSHOT_TIMEOUT_SECONDS)  # type: ignore[no-untyped-call]
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
        info = await self._jetstream.stream_info(f"KV_{self.name}", subjects_filter=f"$KV.{self.name}.{keys}")
        return len(info.state.subjects or {})

    def mirror(self, keys: str = ">", on_change: Callable[[str, Entry | None], None] | None = None) -> "Mirror":
        """A local copy of everything under `keys`, kept up to date from now on."""
        return Mirror(self, self._bus, keys, on_change)

    async def last_sequence(self) -> int:
        """Sequence of the newest write to the bucket, of any key."""
        status = await (self._kv or await self.open()).status()
        return int(status.stream_info.state.last_seq)

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"the bus did not answer for {self.name} ({type(error).__name__}); try again")


class Mirror:
    """A bucket's entries in memory. `on_change(key, entry or None)` is called in the event loop."""

    def __init__(
        self, bucket: Bucket, bus: "Bus", keys: str, on_change: Callable[[str, Entry | None], None] | None
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self._bucket = bucket
        self._keys = keys
        self._on_change = on_change
        self._changed = asyncio.Condition()
        self._synced = asyncio.Event()
        self._rewatch = asyncio.Event()
        self._forget_hook = bus.on_reconnect(self._rewatch.set)
        self._task = start_task(self._run(), f"mirror {bucket.name}")

    async def synced(self, timeout_seconds: float = 10.0) -> None:
        """Wait for the first complete copy.

        Raises:
            Unavailable: not within the time.
        """
        if not await set_within(self._synced, timeout_seconds):
            raise Unavailable(f"the bus did not list {self._bucket.name} in time")

    async def wait_for(self, predicate: Callable[[dict[str, Entry]], bool], timeout_seconds: float) -> bool:
        """Wait until the entries satisfy `predicate`; False when the time is over first."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: predicate(self.entries))
        except TimeoutError:
            return predicate(self.entries)
        return True

    async def close(self) -> None:
        self._forget_hook()
        await end_tasks(self._task)

    async def _run(self) -> None:
        while True:
            self._rewatch.clear()
            try:
                await self._follow()
            except (nats.errors.Error, Unavailable, TimeoutError) as error:
                log.debug("watch of %s: %s", self._bucket.name, error or type(error).__name__)
                # Waits for the reconnect hook, or a moment when the server is there but not ready.
                await set_within(self._rewatch, _RETRY_SECONDS)

    async def _follow(self) -> None:
        """Take a snapshot, then follow changes until a reconnect or a missed write."""
        async with asyncio.timeout(_SNAPSHOT_TIMEOUT_SECONDS):
            watcher = await (await self._bucket.open()).watch(self._keys)
            seen = await self._bucket.last_sequence()
        try:
            async with asyncio.timeout(_SNAPSHOT_TIMEOUT_SECONDS):
                await self._replace(await self._bucket.snapshot(watcher, self._keys))
            self._synced.set()
            while not self._rewatch.is_set():
                update = asyncio.ensure_future(watcher.updates(timeout=_RESYNC_SECONDS))  # type: ignore[no-untyped-call]
                rewatch = asyncio.ensure_future(self._rewatch.wait())
                try:
                    await asyncio.wait({update, rewatch}, return_when=asyncio.FIRST_COMPLETED)
                    if not update.done():
                        return
                    try:
                        changed = update.result()
                    except nats.errors.TimeoutError:
                        async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                            newest = await self._bucket.last_sequence()
                        # Writes to other keys also move the sequence: list again, it is cheap and rare.
                        if newest != seen:
                            return
                        continue
                finally:
                    update.cancel()
                    rewatch.cancel()
                if isinstance(changed, KeyValue.Entry):
                    seen = max(seen, changed.revision or 0)
                    await self._apply(changed)
        finally:
            try:
                async with asyncio.timeout(1):
                    await watcher.stop()  # type: ignore[no-untyped-call]
            except (nats.errors.Error, TimeoutError):
                log.debug("watch of %s ended with its connection", self._bucket.name)

    async def _apply(self, entry: KeyValue.Entry) -> None:
        if entry.operation in ("DEL", "PURGE"):
            if self.entries.pop(entry.key, None) is not None:
                await self._tell(entry.key, None)
            return
        known = self.entries.get(entry.key)
        if known and known.revision >= (entry.revision or 0):
            return
        self.entries[entry.key] = Entry(entry.key, entry.value or b"", entry.revision or 0)
        await self._tell(entry.key, self.entries[entry.key])

    async def _replace(self, snapshot: dict[str, Entry]) -> None:
        for key in [key for key in self.entries if key not in snapshot]:
            del self.entries[key]
            await self._tell(key, None)
        for key, entry in snapshot.items():
            known = self.entries.get(key)
            # `!=`, not `<`: a store that was wiped starts its revisions again.
            if known is None or known.revision != entry.revision:
                self.entries[key] = entry
                await self._tell(key, entry)

    async def _tell(self, key: str, entry: Entry | None) -> None:
        if self._on_change:
            try:
                self._on_change(key, entry)
            except Exception:  # a listener's bug must not end the mirror: everything that follows depends on it
                log.exception("change of %s in %s", key, self._bucket.name)
        async with self._changed:
            self._changed.notify_all()


async def open_bucket(
    jetstream: JetStreamContext, bus: "Bus", name: str, *, ttl_seconds: float | None, memory: bool, history: int
) -> Bucket:
    config = KeyValueConfig(
        bucket=name,
        history=history,
        ttl=ttl_seconds,
        storage=StorageType.MEMORY if memory else StorageType.FILE,
        max_bytes=64 * 1024 * 1024,
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
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                await attempt()
            return
        except (nats.errors.Error, TimeoutError) as error:
            log.debug("%s, attempt %d: %s", what, number, error or type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
    raise Unavailable(f"JetStream does not answer at this server; framemesh needs it (nats-server -js) for {what}")

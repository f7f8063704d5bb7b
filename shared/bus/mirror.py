"""Local copies of buckets that stay true across server restarts.

A plain KV watch misses every put for about 20 s after nats-server was killed. A mirror therefore makes a new
watch and lists everything again on each reconnect, and every few seconds compares the bucket's last sequence
with what it has seen.
"""

import asyncio
import logging
from collections.abc import Callable

import nats.errors
from nats.js.kv import KeyValue

from schemas.errors import Unavailable
from shared.bus.jetstream_ready import CALL_TIMEOUT_SECONDS, RETRY_SECONDS
from shared.bus.kv import Bucket, Entry
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_RESYNC_SECONDS = 5.0


class Mirror:
    """A bucket's entries in memory, kept up to date from now on until `close`."""

    def __init__(
        self, bucket: Bucket, keys: str = ">", on_change: Callable[[str, Entry | None], None] | None = None
    ) -> None:
        """`keys`: a subject pattern; `on_change(key, entry or None)` is called in the event loop."""
        self.entries: dict[str, Entry] = {}
        self._bucket = bucket
        self._keys = keys
        self._on_change = on_change
        self._changed = asyncio.Condition()
        self._synced = asyncio.Event()
        self._listed = 0
        """Entries that have come in lists: tens of thousands take longer than any deadline for an answer."""
        self._rewatch = asyncio.Event()
        self._forget_hook = bucket.bus.on_reconnect(self._rewatch.set)
        self._task = start_task(self._run(), f"mirror {bucket.name}")

    async def synced(self, timeout_seconds: float = 10.0) -> None:
        """Wait for the first complete copy, which takes as long as there is much to be copied.

        Raises:
            Unavailable: nothing more has come within the time.
        """
        listed = 0
        while not await set_within(self._synced, timeout_seconds):
            if self._listed == listed:
                raise Unavailable(f"the bus did not list {self._bucket.name} in time")
            listed = self._listed

    @property
    def is_synced(self) -> bool:
        """Whether it was complete once."""
        return self._synced.is_set()

    async def wait_for(self, predicate: Callable[[dict[str, Entry]], bool], timeout_seconds: float) -> bool:
        """Wait until the entries satisfy `predicate`; False when the time is over first."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: predicate(self.entries))
        except TimeoutError:
            return predicate(self.entries)
        return True

    def look_again(self) -> None:
        """List everything anew, as after a reconnect: the bucket was out of reach, and is not any more."""
        self._rewatch.set()

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
                await set_within(self._rewatch, RETRY_SECONDS)

    async def _follow(self) -> None:
        """Take a snapshot, then follow changes until a reconnect or a missed write."""
        async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
            watcher = await self._bucket.watch(self._keys, afresh=True)
            seen = await self._bucket.last_sequence()
        try:
            await self._replace(await self._bucket.snapshot(watcher, self._keys, self._count_listed))
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
                        async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
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

    def _count_listed(self) -> None:
        self._listed += 1

    async def _apply(self, entry: KeyValue.Entry) -> None:
        if entry.operation in ("DEL", "PURGE"):
            if self.entries.pop(entry.key, None) is not None:
                await self._tell(entry.key, None)
            return
        known, now = self.entries.get(entry.key), self._bucket.entry_of(entry)
        if known and (known == now or (known.revision >= now.revision and self._bucket.revisions_grow)):
            return
        self.entries[entry.key] = now
        await self._tell(entry.key, now)

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

"""What is known of every job, on the bus: written by compare-and-set only, read by everybody."""

import hashlib
import heapq
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from schemas.errors import Conflict
from schemas.extraction import Job, JobRecord, JobState
from schemas.packets import UNREADABLE
from schemas.subjects import JOBS_BUCKET, job_key, job_name_key
from services.frame_extractor.jobs.states import JOB_LIFE_SECONDS
from shared.bus import Bucket, Bus, Entry, Mirror

log = logging.getLogger(__name__)

_BUCKET_BYTES = 128 << 20  # some hundred thousand jobs of three days
_NANOSECONDS = 1_000_000_000
_FORGET_SECONDS = 60.0
_ALL = job_key("x").replace("x", "*")
_decoder = msgspec.json.Decoder(JobRecord)


class Known(NamedTuple):
    record: JobRecord
    revision: int


class Records:
    """The records, and a copy of them that follows every change."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._listeners: dict[str, Callable[[JobRecord], None]] = {}
        self._known: dict[str, Job] = {}
        self.states: Counter[JobState] = Counter()
        """How many jobs are in each; may be read from other threads."""
        self._looked_at = 0.0
        self._mirror = Mirror(bucket, _ALL, self._changed)

    @classmethod
    async def open(cls, bus: Bus) -> "Records":
        records = cls(await bus.bucket(JOBS_BUCKET, ttl_seconds=JOB_LIFE_SECONDS, max_bytes=_BUCKET_BYTES))
        await records._mirror.synced()
        return records

    async def close(self) -> None:
        await self._mirror.close()

    async def get(self, job: str) -> Known | None:
        """The record as it is now, from the bus."""
        entry = await self._bucket.get(job_key(job))
        return Known(_decoder.decode(entry.value), entry.revision) if entry else None

    async def write(self, record: JobRecord, revision: int) -> int:
        """Write what follows `revision` (0: there is none yet); returns the new revision.

        Raises:
            Conflict: somebody else has written it since.
            Unavailable: the bus did not take it in time; it may have been written.
        """
        return await self._bucket.update(job_key(record.job.id), msgspec.json.encode(record), revision)

    async def name(self, owner: str, key: str, job: str) -> str:
        """The job that has `key` among those of `owner`: `job`, unless another one was first."""
        # A digest: keys of the bus may not have every character, and not everybody who reads them may know the key.
        place = job_name_key(owner, hashlib.sha256(key.encode()).hexdigest()[:40])
        try:
            await self._bucket.update(place, job.encode(), 0)
        except Conflict:
            entry = await self._bucket.get(place)
            if entry is not None:
                return entry.value.decode()
            raise
        return job

    def newest(self, most: int, wanted: Callable[[Job], bool]) -> list[Job]:
        """So many of the jobs that are wanted, the newest first, as far as this instance has heard."""
        self._forget_old()
        found = (job for job in self._known.values() if wanted(job))
        return heapq.nlargest(most, found, key=lambda job: (job.submitted_ns, job.id))

    def listen(self, job: str, changed: Callable[[JobRecord], None]) -> Callable[[], object]:
        """Hear of every change of a job; returns a function that ends that. One listener a job."""
        self._listeners[job] = changed
        return lambda: self._listeners.pop(job, None)

    def _changed(self, key: str, entry: Entry | None) -> None:
        job = key.rpartition(".")[2]
        if entry is None:
            self._put(job, None)
            return
        try:
            record = _decoder.decode(entry.value)
        except UNREADABLE as error:
            log.error("the record of %s is not readable and is left alone: %s", job, error)
            return
        self._put(job, record.job)
        if listener := self._listeners.get(job):
            listener(record)

    def _put(self, job: str, now: Job | None) -> None:
        before = self._known.pop(job, None)
        if before is not None:
            self.states[before.state] -= 1
        if now is not None:
            self._known[job] = now
            self.states[now.state] += 1
        self._forget_old()

    def _forget_old(self) -> None:
        """The bus does not tell of what it forgets."""
        if time.monotonic() - self._looked_at < _FORGET_SECONDS:
            return
        self._looked_at = time.monotonic()
        oldest_ns = time.time_ns() - JOB_LIFE_SECONDS * _NANOSECONDS
        for job in list(self._known.values()):
            if max(job.submitted_ns, job.started_ns, job.ended_ns) < oldest_ns:
                self._put(job.id, None)

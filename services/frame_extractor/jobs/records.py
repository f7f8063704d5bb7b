"""What is known of every job, on the bus: written by compare-and-set only, read by everybody."""

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import msgspec

from schemas.buckets import JOB_LIFE_SECONDS
from schemas.errors import Conflict, InternalError, NotFound, Unavailable
from schemas.extraction import Job, JobRecord, JobState, ListJobs
from schemas.packets import UNREADABLE
from schemas.subjects import JOBS_BUCKET, job_key, job_name_key
from services.frame_extractor.jobs.index import JobIndex, Row
from shared.bus import Bucket, Bus, Change, Follower

log = logging.getLogger(__name__)

_LISTED_SECONDS = 5.0  # to read what there is of a hundred thousand takes three
_READ_AT_ONCE = 32  # requests on their way; more would only wait in the server
_REPLY_BYTES = 512 << 10  # half of the message that every server takes
_ALL = job_key("x").replace("x", "*")
_decoder = msgspec.json.Decoder(JobRecord)


class _Glance(msgspec.Struct, frozen=True):
    job: Row


_glance_decoder = msgspec.json.Decoder(_Glance)


class Known(NamedTuple):
    record: JobRecord
    revision: int


class Records:
    """The records, and an index of them that follows every change."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._listeners: dict[str, Callable[[JobRecord], None]] = {}
        self._index = JobIndex(JOB_LIFE_SECONDS)
        self._follower = Follower(bucket, _ALL, self._changed, self._index.clear)

    @classmethod
    async def open(cls, bus: Bus) -> "Records":
        """Ready at once: what there is already is read meanwhile."""
        return cls(await bus.bucket(JOBS_BUCKET))

    async def close(self) -> None:
        await self._follower.close()

    @property
    def states(self) -> Counter[JobState]:
        """How many jobs are in each; may be read from other threads."""
        return self._index.states

    async def get(self, job: str) -> Known | None:
        """The record as it is now, from the bus.

        Raises:
            InternalError: it is not readable.
            Unavailable: the bus does not answer.
        """
        entry = await self._bucket.get(job_key(job))
        if entry is None:
            return None
        try:
            return Known(_decoder.decode(entry.value), entry.revision)
        except UNREADABLE as error:
            raise InternalError(f"the record of {job} is not readable ({error}); submit it again") from None

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

    async def newest(self, request: ListJobs) -> tuple[list[Job], bool]:
        """The jobs that are asked for, the newest first, as many as fit into one reply; whether there are more.

        Raises:
            NotFound: the job of `before` is no longer known.
            Unavailable: the bus does not answer, or this instance has not yet read what jobs there are.
        """
        if not await self._follower.caught_up(_LISTED_SECONDS):
            raise Unavailable("the jobs on the bus are still being read; try again")
        self.forget_old()
        before = None
        if request.before is not None:
            known = await self.get(request.before)
            if known is None:
                raise NotFound(f"before: job {request.before!r} does not exist any more; list from the newest on")
            before = (known.record.job.submitted_ns, request.before)
        found = self._index.newest(request.owner, request.state, before)
        ids = list(islice(found, request.limit + 1))
        jobs: list[Job] = []
        size_bytes = 0
        for start in range(0, request.limit, _READ_AT_ONCE):
            part = ids[start : min(start + _READ_AT_ONCE, request.limit)]
            for entry in await asyncio.gather(*(self._bucket.get(job_key(job)) for job in part)):
                if entry is None:  # gone since
                    continue
                try:
                    job = _decoder.decode(entry.value).job
                except UNREADABLE:  # said where its change was heard of
                    continue
                if request.state not in (None, job.state):  # another one since
                    continue
                size_bytes += len(entry.value)
                if jobs and size_bytes > _REPLY_BYTES:
                    return jobs, True
                jobs.append(job)
        return jobs, len(ids) > request.limit

    def forget_old(self) -> None:
        """What is past its life counts no more; called now and then, for the bus does not tell of it."""
        self._index.forget_old(time.time())

    def listen(self, job: str, changed: Callable[[JobRecord], None]) -> Callable[[], object]:
        """Hear of every change of a job; returns a function that ends that. One listener a job."""
        self._listeners[job] = changed
        return lambda: self._listeners.pop(job, None)

    def _changed(self, change: Change) -> None:
        job = change.key.rpartition(".")[2]
        if change.value is None:
            self._index.remove(job)
            return
        try:
            row = _glance_decoder.decode(change.value).job
            if listener := self._listeners.get(job):
                listener(_decoder.decode(change.value))
        except UNREADABLE as error:
            log.error("the record of %s is not readable and is left alone: %s", job, error)
            return
        self._index.put(row, change.written_s)

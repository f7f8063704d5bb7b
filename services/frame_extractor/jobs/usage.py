"""What owners have had: pictures by day, each job counted once however often its worker died."""

import asyncio
import random
from datetime import UTC, datetime

import msgspec

from schemas.errors import Conflict, Unavailable
from schemas.extraction import GetUsage, Job, Usage, UsageRecord, UsageReply
from schemas.subjects import USAGE_BUCKET, usage_key
from shared.bus import Bucket, Bus

# Jobs that may end in the seconds between counting one and noting so; its worker counts again only in those.
_REMEMBERED_JOBS = 256
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.05
_decoder = msgspec.json.Decoder(UsageRecord)


class Meter:
    """The usage, on the bus."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @classmethod
    async def open(cls, bus: Bus) -> "Meter":
        return cls(await bus.bucket(USAGE_BUCKET))

    async def count(self, job: Job) -> None:
        """Add a completed job to its owner's day; nothing when it is in it.

        Raises:
            Unavailable: the bus does not answer, or too many others write at the same moment.
        """
        day = datetime.fromtimestamp(job.ended_ns / 1e9, UTC).strftime("%Y%m%d")
        key = usage_key(job.owner, day)
        for _ in range(_ATTEMPTS):
            entry = await self._bucket.get(key)
            known = _decoder.decode(entry.value) if entry else UsageRecord(owner=job.owner, day=day)
            if job.id in known.counted:
                return
            now = msgspec.structs.replace(
                known,
                jobs=known.jobs + 1,
                pictures=known.pictures + job.done,
                counted=(*known.counted, job.id)[-_REMEMBERED_JOBS:],
            )
            try:
                await self._bucket.update(key, msgspec.json.encode(now), entry.revision if entry else 0)
            except Conflict:
                await asyncio.sleep(random.random() * _PAUSE_SECONDS)
            else:
                return
        raise Unavailable(f"the usage of {job.owner} is written by too many at once; try again")

    async def read(self, request: GetUsage) -> UsageReply:
        """By owner and day.

        Raises:
            Unavailable: the bus does not answer.
        """
        found = []
        for entry in (await self._bucket.entries(f"{request.owner or '*'}.*")).values():
            known = _decoder.decode(entry.value)
            if (request.since or "") <= known.day <= (request.until or known.day):
                found.append(Usage(owner=known.owner, day=known.day, jobs=known.jobs, pictures=known.pictures))
        found.sort(key=lambda usage: (usage.owner, usage.day))
        return UsageReply(usage=tuple(found), pictures=sum(usage.pictures for usage in found))

"""Jobs as those who ask see them: submit, poll, cancel, list. Any instance answers for all of them."""

import logging
import secrets
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from schemas.errors import BadRequest, Conflict, MeshError, NotFound, TooMany
from schemas.extraction import (
    CancelJob,
    ExtractedFrame,
    GetUsage,
    JobList,
    JobReply,
    JobTask,
    ListJobs,
    PollJob,
    SubmitJob,
    Submitted,
    UsageReply,
)
from schemas.sampling import check_options, check_sampling
from services.frame_extractor.jobs import states
from services.frame_extractor.jobs.events import SERVICE, post_job_event
from services.frame_extractor.jobs.pages import read_page
from services.frame_extractor.jobs.records import Known, Records
from services.frame_extractor.jobs.usage import Meter
from shared.bus import Bus, WorkQueue
from shared.secret_store import forget_secret, keep_secret
from shared.urls import redact

log = logging.getLogger(__name__)

_ID_CHARACTERS = string.ascii_lowercase + string.digits
_ID_RANDOM = 12  # 62 bits: nobody guesses somebody else's job
_CANCEL_ATTEMPTS = 10  # its worker writes twice a second at most

Check = Callable[[SubmitJob], None]


class Jobs:
    """The jobs of the mesh."""

    def __init__(self, bus: Bus, node: str, queue: WorkQueue, records: Records, meter: Meter, check: Check) -> None:
        """`check` refuses what can never work, without any I/O: addresses and places of no known kind."""
        self._bus, self._node, self._queue, self._records, self._meter = bus, node, queue, records, meter
        self._check = check

    async def submit(self, request: SubmitJob) -> Submitted:
        """Put a job into the queue.

        Raises:
            InvalidValue: it can never work.
            TooMany: the queue is full.
            Unavailable: the bus does not answer; with a `key` it is safe to try again.
        """
        check_sampling(request.sampling, "sampling.")
        check_options(request.pictures, "pictures.")
        self._check(request)
        if redact(request.to)[1]:
            raise BadRequest("to: has credentials in it; give them to the service with its settings")
        job = _new_id()
        if request.key:
            named = await self._records.name(request.owner, request.key, job)
            known = await self._records.get(named) if named != job else None
            if known is not None:
                return Submitted(job=named, state=known.record.job.state, again=True)
            again, job = named != job, named  # one whose submission ended half-way is submitted now
        else:
            again = False
        shown, secret = redact(request.video)
        reference = await keep_secret(self._bus, SERVICE, job, request.video) if secret else ""
        # The key has done its work, and may be a secret to others.
        kept = msgspec.structs.replace(request, video=shown, key="")
        task = JobTask(job=job, submitted_ns=time.time_ns(), request=kept, video_secret=reference)
        # First the queue, then the record, which a worker makes when it is missing: whatever ends us in between, no
        # job is shown that nobody will ever do.
        try:
            await self._queue.put(job, msgspec.json.encode(task))
        except (BadRequest, TooMany):
            if not again:  # else the first submission may be in the queue, and lead to the same secret
                await forget_video(self._bus, job, reference)
            raise
        record = states.submitted(task)
        try:
            await self._records.write(record, 0)
        except Conflict:
            log.debug("%s has been taken already", job)
        if not again:
            post_job_event(self._bus, self._node, record, "job-submitted")
        return Submitted(job=job, state="pending", again=again)

    async def poll(self, request: PollJob) -> JobReply:
        """A job, and its pictures from `first` on, as many as fit into one reply.

        Raises:
            NotFound: there is none, or it is another owner's.
            Unavailable: the bus does not answer.
        """
        record = (await self._get(request.job, request.owner)).record
        frames, more = (
            await read_page(self._bus, record, request.first)
            if request.frames and record.job.state == "completed"
            else ((), False)
        )
        return JobReply(job=record.job, frames=frames, more=more)

    async def pictures(self, job: str, owner: str | None = None) -> tuple[ExtractedFrame, ...]:
        """The whole list of a completed job; of one that is not completed nothing.

        Raises:
            NotFound, Unavailable: as for `poll`.
        """
        frames: list[ExtractedFrame] = []
        while True:
            reply = await self.poll(PollJob(job=job, first=len(frames), owner=owner))
            frames += reply.frames
            if not reply.more:
                return tuple(frames)

    async def cancel(self, request: CancelJob) -> JobReply:
        """End a job; one that has ended stays as it is. Its worker hears of it in a moment.

        Raises:
            NotFound: there is none, or it is another owner's.
            Conflict: it changes too quickly; try again.
        """
        for _ in range(_CANCEL_ATTEMPTS):
            record, revision = await self._get(request.job, request.owner)
            if states.has_ended(record):
                return JobReply(job=record.job)
            now = states.canceled(record)
            try:
                await self._records.write(now, revision)
            except Conflict:
                continue
            post_job_event(self._bus, self._node, now, "job-canceled")
            await forget_video(self._bus, now.job.id, now.video_secret)
            return JobReply(job=now.job)
        raise Conflict(f"{request.job} was changed meanwhile; try again")

    async def list(self, request: ListJobs) -> JobList:
        """The newest first, as many as fit into one reply; the rest by `before`.

        Raises:
            NotFound: the job of `before` is no longer known.
            Unavailable: the bus does not answer, or the jobs are still being read.
        """
        jobs, more = await self._records.newest(request)
        return JobList(jobs=tuple(jobs), more=more)

    async def usage(self, request: GetUsage) -> UsageReply:
        """Pictures per owner and day."""
        return await self._meter.read(request)

    async def _get(self, job: str, owner: str | None) -> Known:
        known = await self._records.get(job)
        if known is None or owner not in (None, known.record.job.owner):
            raise NotFound(f"job {job!r} does not exist; jobs are kept for three days")
        return known


async def forget_video(bus: Bus, job: str, secret: str) -> None:
    """Nobody needs the secret of a job that has ended, or was never taken."""
    if secret:
        try:
            await forget_secret(bus, secret)
        except MeshError as error:
            log.warning("the secret of %s is not removed: %s", job, error)


def _new_id() -> str:
    tail = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_RANDOM))
    return f"task-{datetime.now(UTC):%Y%m%d%H%M%S}-{tail}"

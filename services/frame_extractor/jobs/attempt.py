"""One attempt at one job: claimed, kept alive, and ended in the record, the queue and the usage.

Who may write is decided by the record alone: an attempt knows the revision it wrote last, and when somebody has written
since, it has been given up (or the job was canceled), and stops without a word. The queue only says whose turn it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from schemas.errors import Conflict, InternalError, MeshError, NotFound, Unavailable
from schemas.extraction import FailureKind, Job, JobRecord, JobTask
from schemas.packets import UNREADABLE
from services.frame_extractor.jobs import states
from services.frame_extractor.jobs.events import post_job_event
from services.frame_extractor.jobs.figures import JobFigures
from services.frame_extractor.jobs.jobs import forget_video
from services.frame_extractor.jobs.memory import MemoryBudget
from services.frame_extractor.jobs.pages import keep_pages
from services.frame_extractor.jobs.process import JobFailed, JobProcess
from services.frame_extractor.jobs.records import Known, Records
from services.frame_extractor.jobs.usage import Meter
from services.frame_extractor.jobs.wire import Advanced, Finished, Order
from shared.bus import BucketFull, Bus, Work
from shared.secret_store import read_secret
from shared.tasks import end_tasks

log = logging.getLogger(__name__)

_TELL_SECONDS = 0.5  # events and records: twice a second
_BUS_SECONDS = 60.0  # a server that restarts is back long before; then the job is somebody else's
_BUS_RETRY_SECONDS = 0.3
_UNREADABLE_SECONDS = 60.0  # a worker of another version may read it; if none does, the queue drops it by its age
T = TypeVar("T")
_task_decoder = msgspec.json.Decoder(JobTask)


class GivenUp(Exception):
    """The job is no longer ours."""


@dataclass(frozen=True)
class Parts:
    """What every attempt needs."""

    bus: Bus
    node: str
    worker: str
    records: Records
    meter: Meter
    figures: JobFigures
    memory: MemoryBudget
    attempts: int
    threads: int
    job_seconds: float
    job_memory_bytes: int
    give_up_seconds: float


class Attempt:
    """Use once: `run`."""

    def __init__(self, parts: Parts, work: Work, task: JobTask, known: Known) -> None:
        self._parts, self._work, self._task = parts, work, task
        self._record, self._revision = known
        self._number = known.record.job.attempt + 1
        self._newest: Advanced | None = None
        self._given_up = asyncio.Event()

    async def run(self, process: JobProcess) -> None:
        """To the end, whatever that is. When it is cancelled the job goes back to the queue at once.

        Raises:
            Unavailable: the bus was away for too long; the job comes again.
        """
        forget = self._parts.records.listen(self._task.job, self._heard)
        running = asyncio.create_task(self._do(process), name=f"job {self._task.job}")
        alive = asyncio.create_task(self._keep_alive(), name=f"job {self._task.job} alive")
        try:
            await asyncio.wait({running, alive}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                alive.result()  # given up: says so
            await end_tasks(alive)
            await self._completed(running.result())
        except JobFailed as error:
            await end_tasks(running, alive)
            await self._failed(error)
        except GivenUp:
            log.info("%s is not ours any more", self._task.job)
            await end_tasks(running, alive)
            await process.end()
            await self._lost()
        except asyncio.CancelledError:
            await end_tasks(running, alive)
            await process.end()
            await self._give_back()
            raise
        finally:
            forget()
            await end_tasks(running, alive)

    async def _do(self, process: JobProcess) -> Finished:
        await self._write(states.claimed(self._record, self._parts.worker))
        self._parts.figures.began(self._record.job)
        self._tell("job-started")
        request = self._task.request
        if self._task.video_secret:
            try:
                request = msgspec.structs.replace(
                    request, video=await read_secret(self._parts.bus, self._task.video_secret)
                )
            except NotFound:
                raise JobFailed("url", "the credentials of its video are gone; submit it again", False) from None
        order = Order(
            request=request,
            threads=self._parts.threads,
            memory_bytes=self._parts.job_memory_bytes,
            silence_seconds=self._parts.give_up_seconds,
        )
        try:
            done = await process.run(order, self._parts.memory, self._parts.job_seconds, self._advanced)
        finally:
            self._parts.figures.storage.add(process.storage)
        await over_restarts(lambda: keep_pages(self._parts.bus, self._task.job, self._number, done.pages))
        return done

    # -- while it runs -----------------------------------------------------------------------------------------

    def _advanced(self, so_far: Advanced) -> None:
        self._newest = so_far

    def _heard(self, record: JobRecord) -> None:
        """Somebody has written the record, perhaps ourselves."""
        if record.job.attempt > self._number or states.has_ended(record):
            self._given_up.set()

    async def _keep_alive(self) -> None:
        """Tell the queue that it goes on, and everybody how far it is; ends by `GivenUp` only."""
        written: Advanced | None = None
        while True:
            await self._work.going_on()
            try:
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._given_up.wait()
                raise GivenUp
            except TimeoutError:
                pass
            newest = self._newest
            if newest is None or newest == written:
                continue
            try:
                await self._write(states.advanced(self._record, newest.done, newest.expected), wait_seconds=0)
            except Unavailable:  # the bus is away; told when it is back
                continue
            written = newest
            self._tell("job-progress")

    # -- its end -----------------------------------------------------------------------------------------------

    async def _completed(self, done: Finished) -> None:
        await self._write(states.completed(self._record, done.facts, done.pictures, done.firsts))
        self._tell("job-completed")
        self._parts.figures.ended(self._record.job)
        await settle(self._parts, self._work, self._task, Known(self._record, self._revision))

    async def _failed(self, error: JobFailed) -> None:
        again = error.may_pass and error.kind in states.PASSING and self._record.tries < self._parts.attempts
        if again:
            seconds = states.retry_seconds(self._record.tries)
            await self._write(states.put_off(self._record, error.kind, error.message, seconds))
            self._parts.figures.retries[error.kind] += 1
            self._tell("job-retried")
            await self._work.again(seconds)
            return
        await fail(self._parts, self._work, self._task, Known(self._record, self._revision), error.kind, error.message)

    async def _give_back(self) -> None:
        """The service stops; somebody else can begin at once, or do what is left to do for a job that has ended."""
        try:
            if not states.has_ended(self._record):
                await self._write(states.given_back(self._record), wait_seconds=0)
            await self._work.again()
        except (GivenUp, MeshError) as error:  # then it comes by itself, a little later
            log.debug("%s is not given back: %s", self._task.job, error)

    async def _lost(self) -> None:
        known = await self._parts.records.get(self._task.job)
        if known and states.has_ended(known.record):  # canceled, most likely: nobody else need look at it
            await settle(self._parts, self._work, self._task, known)

    # -- the record --------------------------------------------------------------------------------------------

    async def _write(self, record: JobRecord, wait_seconds: float = _BUS_SECONDS) -> None:
        """Raises:
        GivenUp: it is no longer ours to write.
        Unavailable: the bus did not answer for so long.
        """
        self._revision = await write_own(self._parts.records, record, self._revision, wait_seconds)
        self._record = record

    def _tell(self, name: str) -> None:
        post_job_event(self._parts.bus, self._parts.node, self._record, name)


async def write_own(records: Records, record: JobRecord, revision: int, wait_seconds: float) -> int:
    """Write what follows `revision`, over restarts of the bus; returns the new revision.

    Raises:
        GivenUp: somebody else has written since.
        Unavailable: the bus did not answer for `wait_seconds`.
    """

    async def attempt() -> int:
        nonlocal revision
        while True:
            try:
                return await records.write(record, revision)
            except Conflict:
                # A write of ours whose answer was lost, or that was cancelled, was made all the same.
                known = await records.get(record.job.id)
                if known is None:
                    raise GivenUp from None
                if known.record == record:
                    return known.revision
                if not _same_attempt(known.record.job, record.job):
                    raise GivenUp from None
                revision = known.revision

    return await over_restarts(attempt, wait_seconds)


async def over_restarts(attempt: Callable[[], Awaitable[T]], wait_seconds: float = _BUS_SECONDS) -> T:
    """What `attempt` returns, tried until the bus answers.

    Raises:
        BucketFull: at once.
        Unavailable: it did not for `wait_seconds`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    while True:
        try:
            return await attempt()
        except BucketFull:  # waiting does not help
            raise
        except Unavailable:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(_BUS_RETRY_SECONDS)


def _same_attempt(known: Job, job: Job) -> bool:
    return known.state == "running" and (known.attempt, known.worker) == (job.attempt, job.worker)


async def begin(parts: Parts, work: Work) -> Attempt | None:
    """The attempt that is to be made at what was taken from the queue; None when there is none to make.

    Raises:
        GivenUp: another worker is quicker.
        Unavailable: the bus does not answer; the work comes again.
    """
    try:
        task = _task_decoder.decode(work.data)
    except UNREADABLE as error:
        log.error("a job of the queue is not readable and is dropped: %s", error)
        await work.done()
        return None
    try:
        known = await parts.records.get(task.job)
    except InternalError as error:
        log.error("%s is put off: %s", task.job, error.message)
        await work.again(_UNREADABLE_SECONDS)
        return None
    if known is None:
        record = states.submitted(task)
        known = Known(record, await write_own(parts.records, record, 0, 0))
    if states.has_ended(known.record):
        await settle(parts, work, task, known)
        return None
    if known.record.tries >= parts.attempts:
        # Nobody could say what it died of: each time its worker was gone.
        why = known.record.job.message or "its worker died each time"
        await fail(parts, work, task, known, "internal", f"given up after {known.record.tries} attempts: {why}")
        return None
    return Attempt(parts, work, task, known)


async def fail(parts: Parts, work: Work, task: JobTask, known: Known, kind: FailureKind, message: str) -> None:
    """Park a job as failed: it stays in the list, and never comes again."""
    record = states.failed(known.record, kind, message)
    revision = await write_own(parts.records, record, known.revision, _BUS_SECONDS)
    post_job_event(parts.bus, parts.node, record, "job-failed")
    parts.figures.ended(record.job)
    log.warning("%s failed (%s): %s", task.job, kind, message)
    await settle(parts, work, task, Known(record, revision))


async def settle(parts: Parts, work: Work, task: JobTask, known: Known) -> None:
    """What is left to do for a job that has ended; done again by the next worker when this one dies in the middle."""
    record, revision = known
    if record.job.state == "completed" and not record.metered:
        try:
            await over_restarts(lambda: parts.meter.count(record.job))
            await parts.records.write(msgspec.structs.replace(record, metered=True), revision)
        except BucketFull as error:  # else no job would ever be done with again
            log.error("%s is not in the usage: %s", task.job, error.message)
        except Conflict:
            log.debug("%s was metered by another worker", task.job)
    await forget_video(parts.bus, task.job, task.video_secret)
    await work.done()

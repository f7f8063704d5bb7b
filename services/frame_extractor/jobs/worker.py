"""Takes jobs from the queue and has them done, several at a time."""

import asyncio
import contextlib
import logging
import math

from schemas.errors import MeshError
from services.frame_extractor.jobs.attempt import GivenUp, Parts, begin
from services.frame_extractor.jobs.process import JobProcess
from shared.bus import Taker, Work, WorkQueue
from shared.cause import step
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

_TAKE_SECONDS = 5.0  # after a restart of the bus, a request for work that it never heard of ends then
_PAUSE_SECONDS = 0.5
_LOOK_SECONDS = 2.0


class Worker:
    """Works until it is closed; then what it has goes back to the queue."""

    def __init__(self, parts: Parts, queue: WorkQueue, parallel: int) -> None:
        self._parts, self._queue = parts, queue
        self._slots = [start_task(self._work(), f"worker {number}") for number in range(parallel)]

    async def close(self) -> None:
        await end_tasks(*self._slots)

    async def _work(self) -> None:
        process: JobProcess | None = None
        taker = self._queue.taker()
        try:
            while True:
                work = await self._take(taker)
                if work is None:
                    continue
                if process is None or not process.alive:
                    process = await self._process()
                await self._one(work, process)
                if not process.alive:
                    # For the next one, so that its imports are done by then: where there was one job, there are more.
                    process = await self._process()
        finally:
            if process is not None:
                await process.end()
            await taker.close()

    async def _process(self) -> JobProcess:
        while True:
            try:
                return await JobProcess.start()
            except OSError as error:
                log.error("no process for a job can be started: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _take(self, taker: Taker) -> Work | None:
        try:
            return await taker.take(_TAKE_SECONDS)
        except MeshError as error:
            log.debug("%s", error)
            await asyncio.sleep(_PAUSE_SECONDS)
            return None

    async def _one(self, work: Work, process: JobProcess) -> None:
        with step(work.traceparent, "job", "consumer", attempt=work.attempt) as cause:
            if cause is not None:
                cause.until_s = math.inf  # it may take hours, and all of them were asked for
            await self._attempt(work, process)

    async def _attempt(self, work: Work, process: JobProcess) -> None:
        try:
            attempt = await begin(self._parts, work)
            if attempt is None:
                return
            self._parts.figures.running += 1
            try:
                await attempt.run(process)
            finally:
                self._parts.figures.running -= 1
                if not process.idle:
                    await process.end()
        except GivenUp:
            log.debug("another worker was quicker")
        except MeshError as error:
            log.warning("a job is left to its next attempt: %s", error)
            await asyncio.sleep(_PAUSE_SECONDS)
        except Exception:  # a bug of ours that one job has met: the others still have to be done
            log.exception("a job is left to its next attempt")
            await asyncio.sleep(_PAUSE_SECONDS)


async def watch_queue(parts: Parts, queue: WorkQueue) -> None:
    """Keep the figures of the queue and of the jobs fresh."""
    while True:
        parts.records.forget_old()
        with contextlib.suppress(MeshError):  # the bus is away; the figures stay as they were
            parts.figures.queue = await queue.size()
        await asyncio.sleep(_LOOK_SECONDS)

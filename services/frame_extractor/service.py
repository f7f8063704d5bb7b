"""Commands of frame-extractor, its HTTP API, and the worker of this node."""

import secrets
from functools import partial

from schemas.buckets import JOB_LIFE_SECONDS
from schemas.errors import BadRequest
from schemas.extraction import (
    CancelJob,
    FetchJobPicture,
    GetUsage,
    JobList,
    JobPicture,
    JobReply,
    ListJobs,
    PollJob,
    SubmitJob,
    Submitted,
    UsageReply,
)
from schemas.subjects import JOBS_CONSUMER, JOBS_STREAM, command, job_tasks
from services.frame_extractor.jobs.attempt import Parts
from services.frame_extractor.jobs.events import SERVICE
from services.frame_extractor.jobs.figures import JobFigures
from services.frame_extractor.jobs.jobs import Jobs
from services.frame_extractor.jobs.memory import MemoryBudget
from services.frame_extractor.jobs.records import Records
from services.frame_extractor.jobs.shown import JobPictures
from services.frame_extractor.jobs.usage import Meter
from services.frame_extractor.jobs.worker import Worker, watch_queue
from services.frame_extractor.las.door import serve_las
from services.frame_extractor.las.usage import UsageRoutes
from services.frame_extractor.live.routes import FrameRoutes
from services.frame_extractor.live.service import serve_live
from services.frame_extractor.settings import FrameExtractorSettings
from services.frame_extractor.storage import Places, StorageError
from shared.bus import Endpoint
from shared.service import VERSION, Context


async def build(context: Context[FrameExtractorSettings]) -> None:
    """Connect the parts: the queue, the records, the worker, the commands."""
    settings = context.settings
    queue = await context.bus.work_queue(
        JOBS_STREAM,
        job_tasks(),
        JOBS_CONSUMER,
        give_up_seconds=settings.give_up_seconds,
        max_items=settings.max_waiting,
        max_age_seconds=JOB_LIFE_SECONDS,
    )
    records = await Records.open(context.bus)
    context.stack.push_async_callback(records.close)
    meter = await Meter.open(context.bus)
    figures, memory = JobFigures(), MemoryBudget(settings.memory_bytes)
    figures.register(context.figures, records, memory)
    parts = Parts(
        bus=context.bus,
        node=context.node,
        worker=f"{context.node}-{secrets.token_hex(4)}",
        records=records,
        meter=meter,
        figures=figures,
        memory=memory,
        attempts=settings.attempts,
        threads=settings.threads,
        job_seconds=settings.job_seconds,
        job_memory_bytes=settings.job_memory_bytes,
        give_up_seconds=settings.give_up_seconds,
    )
    places = Places(settings)
    figures.storage = places.counts
    jobs = Jobs(context.bus, context.node, queue, records, meter, partial(_check, places))
    context.spawn(watch_queue(parts, queue), "watch-queue")
    worker = Worker(parts, queue, settings.parallel_jobs)
    context.stack.push_async_callback(worker.close)
    shown = JobPictures(jobs.poll, places, lambda: context.bus.max_payload_bytes)
    served = await context.bus.serve(SERVICE, VERSION, "Pictures out of videos.", _endpoints(jobs, shown))
    context.stack.push_async_callback(served.close)
    moments = await serve_live(context, places)
    await serve_las(
        context,
        settings,
        jobs,
        places,
        lambda admission: (FrameRoutes(moments, admission, settings.live_keys), UsageRoutes(jobs, admission)),
    )


def _endpoints(jobs: Jobs, shown: JobPictures) -> list[Endpoint]:
    return [
        Endpoint(command(SERVICE, "submit"), SubmitJob, Submitted, jobs.submit),
        Endpoint(command(SERVICE, "poll"), PollJob, JobReply, jobs.poll),
        Endpoint(command(SERVICE, "cancel"), CancelJob, JobReply, jobs.cancel),
        Endpoint(command(SERVICE, "list"), ListJobs, JobList, jobs.list),
        Endpoint(command(SERVICE, "fetch"), FetchJobPicture, JobPicture, shown.fetch),
        Endpoint(command(SERVICE, "usage"), GetUsage, UsageReply, jobs.usage),
    ]


def _check(places: Places, request: SubmitJob) -> None:
    """Raises:
    BadRequest: the addresses can never work.
    """
    try:
        places.check_video(request.video)
    except StorageError as error:
        raise BadRequest(error.message) from None
    try:
        places.check_template(request.to, request.pictures.format)
    except StorageError as error:
        raise BadRequest(f"to: {error.message}") from None

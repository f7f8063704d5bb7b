"""What bounds jobs: the memory of one, and the life of all."""

import asyncio
import time

import msgspec
import pytest

from schemas.buckets import FORMS
from schemas.errors import NotFound
from schemas.extraction import CancelJob, ExtractedFrame, JobRecord, JobTask, ListJobs, PollJob, SubmitJob, VideoFacts
from schemas.subjects import JOB_PAGES_BUCKET, JOBS_BUCKET, JOBS_CONSUMER, JOBS_STREAM, SECRETS_BUCKET, job_tasks
from services.frame_extractor.jobs import records, states
from services.frame_extractor.jobs.jobs import Jobs
from services.frame_extractor.jobs.pages import keep_pages, make_pages
from services.frame_extractor.jobs.records import Records
from services.frame_extractor.jobs.usage import Meter
from shared.bus import Bus
from tests.support.extractors import Extractors, make_clip
from tests.support.nats import NatsServer
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

LIFE_SECONDS = 2
LITTLE_BYTES = 100 << 20  # enough for the interpreter and libav, not for a second thread
PASSWORD = "hunter2-of-the-gate"
FACTS = VideoFacts(duration_s=1.0, width=16, height=16)


async def test_a_job_that_needs_more_memory_than_it_may_have_names_the_setting() -> None:
    async with Extractors(job_memory_bytes=LITTLE_BYTES, parallel_jobs=1) as extractors:
        clip = make_clip(extractors.videos / "clip.mp4", 0.2, "1920x1080")
        extractors.start("edge1")
        await extractors.ready()
        job = (await extractors.ended((await extractors.submit(clip, "large")).job)).job
    assert (job.state, job.failure, job.attempt) == ("failed", "internal", 1)  # once: no retry would mend it
    assert job.message == f"needs more than {LITTLE_BYTES} bytes; raise FRAMEMESH_FRAME_EXTRACTOR_JOB_MEMORY_BYTES"


async def test_after_its_life_nothing_of_a_job_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "JOB_LIFE_SECONDS", LIFE_SECONDS)
    for name in (JOBS_BUCKET, JOB_PAGES_BUCKET):
        monkeypatch.setitem(FORMS, name, msgspec.structs.replace(FORMS[name], ttl_seconds=LIFE_SECONDS))
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test")
        known = await Records.open(bus)
        known._index._life_seconds = LIFE_SECONDS
        jobs = await _jobs(bus, known)
        secret = SubmitJob(video=f"https://user:{PASSWORD}@host/a.mp4", to="s3://bucket/{index}.jpg", key="once")
        waiting = (await jobs.submit(secret)).job
        record = await _completed(bus, known)
        reply = await jobs.poll(PollJob(job=record.job.id))
        assert len(reply.frames) == 3
        patience = Patience(5)
        while len((await jobs.list(ListJobs())).jobs) < 2:
            assert not patience.is_over()
            await asyncio.sleep(0.05)

        # Of a job that nobody takes any more nobody needs the password.
        vault = await bus.bucket(SECRETS_BUCKET)
        assert any(PASSWORD.encode() in entry.value for entry in (await vault.entries()).values())
        await jobs.cancel(CancelJob(job=waiting))
        assert await vault.entries() == {}

        patience = Patience(LIFE_SECONDS + 10)
        while (await jobs.list(ListJobs())).jobs or known.states.total():
            assert not patience.is_over()
            await asyncio.sleep(0.1)

        async def poll_until_refused(job: str) -> None:
            while not patience.is_over():  # the server looks for what is old a little later
                await jobs.poll(PollJob(job=job))
                await asyncio.sleep(0.1)

        for job in (waiting, record.job.id):
            with pytest.raises(NotFound, match="three days"):
                await poll_until_refused(job)
        shown = await bus.bucket(JOB_PAGES_BUCKET)
        while await shown.entries():
            assert not patience.is_over()
            await asyncio.sleep(0.1)
        await known.close()
        await bus.drain()


async def _jobs(bus: Bus, known: Records) -> Jobs:
    queue = await bus.work_queue(
        JOBS_STREAM, job_tasks(), JOBS_CONSUMER, give_up_seconds=5, max_items=10, max_age_seconds=60
    )
    return Jobs(bus, "edge1", queue, known, await Meter.open(bus), lambda _: None)


async def _completed(bus: Bus, known: Records) -> JobRecord:
    job = "task-20260504100000-abcdef123456"
    frames = [
        ExtractedFrame(index=n, timestamp_s=n, pts_s=n, width=16, height=16, path=f"file:///{n}") for n in range(3)
    ]
    request = SubmitJob(video="https://host/b.mp4", to="s3://bucket/{index}.jpg")
    task = JobTask(job=job, submitted_ns=time.time_ns(), request=request)
    claimed = states.claimed(states.submitted(task), "edge1-1")
    await keep_pages(bus, job, 1, [page.data for page in make_pages(frames)])
    record = msgspec.structs.replace(states.completed(claimed, FACTS, 3, (0,)), metered=True)
    await known.write(record, 0)
    return record

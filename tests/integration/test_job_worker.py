"""A worker against a real bus, and the processes of its jobs: what must not stop it, nor be undone by its end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from schemas.buckets import BucketForm
from schemas.errors import InternalError, TooMany
from schemas.extraction import Job, JobTask, ListJobs, SubmitJob
from schemas.sampling import Sampling
from schemas.subjects import JOBS_BUCKET, SECRETS_BUCKET, job_key
from services.frame_extractor.jobs import process as process_module
from services.frame_extractor.jobs.attempt import Parts
from services.frame_extractor.jobs.figures import JobFigures
from services.frame_extractor.jobs.jobs import Jobs
from services.frame_extractor.jobs.memory import MemoryBudget
from services.frame_extractor.jobs.process import JobProcess
from services.frame_extractor.jobs.records import Records
from services.frame_extractor.jobs.usage import Meter
from services.frame_extractor.jobs.wire import Order
from services.frame_extractor.jobs.worker import Worker
from shared.bus import BucketFull, Bus, WorkQueue
from tests.support.extractors import make_clip
from tests.support.nats import NatsServer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

GOOD, BROKEN = "task-20260504100000-good00", "task-20260504100000-broken"
REQUEST = SubmitJob(
    video="file://clip.mp4", to="file://pictures/{index}.jpg", sampling=Sampling(mode="uniform", count=2)
)


@pytest.fixture
async def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parts]:
    (tmp_path / "media").mkdir()
    make_clip(tmp_path / "media" / "clip.mp4", 1.0)
    monkeypatch.setenv("FRAMEMESH_DATA_DIR", str(tmp_path))
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test")
        records = await Records.open(bus)
        yield Parts(
            bus=bus,
            node="edge1",
            worker="edge1-1",
            records=records,
            meter=await Meter.open(bus),
            figures=JobFigures(),
            memory=MemoryBudget(1 << 30),
            attempts=2,
            threads=1,
            job_seconds=30.0,
            job_memory_bytes=1 << 30,
            give_up_seconds=6.0,
        )
        await records.close()
        await bus.drain()


async def queue_of(parts: Parts, *jobs: str) -> WorkQueue:
    queue = await parts.bus.work_queue("jobs", "jobs.x", "w", give_up_seconds=6.0, max_items=9, max_age_seconds=60)
    for job in jobs:
        await queue.put(job, msgspec.json.encode(JobTask(job=job, submitted_ns=1, request=REQUEST)))
    return queue


async def ended(parts: Parts, job: str) -> Job:
    async with patience(20):
        while not ((known := await parts.records.get(job)) and known.record.job.ended_ns):
            await asyncio.sleep(0.02)
    return known.record.job


async def test_a_record_that_nobody_can_read_stops_no_worker(parts: Parts) -> None:
    await (await parts.bus.bucket(JOBS_BUCKET)).put(job_key(BROKEN), b'{"job": "none"}')
    worker = Worker(parts, await queue_of(parts, BROKEN, GOOD), 1)
    try:
        assert (await ended(parts, GOOD)).state == "completed"
    finally:
        await worker.close()
    with pytest.raises(InternalError, match=f"record of {BROKEN} is not readable"):
        await parts.records.get(BROKEN)
    listed, _ = await parts.records.newest(ListJobs())
    assert [job.id for job in listed] == [GOOD]


async def test_a_completed_job_is_not_given_back_by_a_worker_that_stops(parts: Parts) -> None:
    counting = asyncio.Event()

    class Slow(Meter):
        async def count(self, job: Job) -> None:
            counting.set()
            await asyncio.Event().wait()

    parts = replace(parts, meter=Slow(parts.meter._bucket))
    worker = Worker(parts, await queue_of(parts, GOOD), 1)
    async with patience(20):
        await counting.wait()
    await worker.close()
    assert (await ended(parts, GOOD)).state == "completed"


async def test_usage_that_is_full_stops_no_worker(parts: Parts) -> None:
    small = await parts.bus.bucket("small", BucketForm(max_bytes=1000))
    with pytest.raises(BucketFull, match="small is full on the bus, with 1000 bytes"):
        await small.put("large", bytes(1500))
    await small.put("nearly", bytes(800))
    worker = Worker(replace(parts, meter=Meter(small)), queue := await queue_of(parts, GOOD), 1)
    try:
        assert (await ended(parts, GOOD)).state == "completed"
        async with patience(10):
            while await queue.size() != (0, 0):
                await asyncio.sleep(0.02)
    finally:
        await worker.close()


async def test_of_a_job_that_was_refused_no_secret_is_kept(parts: Parts) -> None:
    queue = await parts.bus.work_queue("jobs", "jobs.x", "w", give_up_seconds=6.0, max_items=1, max_age_seconds=60)
    jobs = Jobs(parts.bus, parts.node, queue, parts.records, parts.meter, lambda _: None)
    request = msgspec.structs.replace(REQUEST, video="http://user:secret@host/a.mp4")
    await jobs.submit(request)
    with pytest.raises(TooMany):
        await jobs.submit(request)
    assert len(await (await parts.bus.bucket(SECRETS_BUCKET)).entries()) == 1


async def test_jobs_follow_one_another_without_a_pause_in_one_process(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "_BEAT_SHARE", 0.00025)  # many beats are on their way when a job ends
    order = Order(request=REQUEST, threads=1, memory_bytes=1 << 30, silence_seconds=4.0)
    process = await JobProcess.start()
    try:
        for _ in range(20):
            async with patience(10):
                done = await process.run(order, parts.memory, 30.0, lambda _: None)
            assert (done.pictures, process.idle) == (2, True)
    finally:
        await process.end()

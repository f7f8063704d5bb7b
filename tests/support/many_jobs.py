"""Finished jobs by the thousand, written to the bus as workers would have left them."""

import time

import msgspec

from schemas.extraction import Job, JobRecord, JobState, VideoFacts
from schemas.subjects import JOBS_BUCKET, job_key
from shared.bus import Bus

OWNERS = ("shop", "bakery", "mesh")
_FLUSHED_AT_ONCE = 1000
_FAILED_EVERY = 50
_APART_NS = 1_000_000


async def write_jobs(bus: Bus, count: int) -> list[str]:
    """Returns their ids, the oldest first. One in fifty has failed; each third one is of the same owner."""
    bucket = await bus.bucket(JOBS_BUCKET)
    before = await bucket.last_sequence()
    begun_ns = time.time_ns() - count * _APART_NS
    jobs = []
    for number in range(count):
        submitted_ns = begun_ns + number * _APART_NS
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(submitted_ns // 1_000_000_000))
        job = f"task-{stamp}-{number:012d}"
        state: JobState = "completed" if number % _FAILED_EVERY else "failed"
        record = JobRecord(
            job=Job(
                id=job,
                state=state,
                owner=OWNERS[number % len(OWNERS)],
                video=f"https://host.example/videos/{number}/clip.mp4",
                to=f"s3://bucket/pictures/{number}/{{index:06d}}.{{autoext}}",
                submitted_ns=submitted_ns,
                started_ns=submitted_ns + 1,
                ended_ns=submitted_ns + 2,
                attempt=1,
                worker="edge1-01234567",
                done=60,
                expected=60,
                facts=VideoFacts(duration_s=60.0, width=1920, height=1080, codec="h264"),
            ),
            tries=1,
            pages=(0,),
            metered=True,
        )
        # Not one by one with an answer to each: that takes a minute for a hundred thousand.
        await bus._client.publish(f"$KV.{JOBS_BUCKET}.{job_key(job)}", msgspec.json.encode(record))
        if number % _FLUSHED_AT_ONCE == 0:
            await bus._client.flush()
        jobs.append(job)
    await bus._client.flush()
    deadline = time.monotonic() + 60
    while await bucket.last_sequence() < before + count:
        assert time.monotonic() < deadline, "the server has not written all of them"
    return jobs

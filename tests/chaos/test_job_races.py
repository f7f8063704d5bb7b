"""What may happen to a job at the same moment, and a bus that can write nothing more."""

import asyncio
import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.errors import Unavailable
from schemas.events import Event
from schemas.extraction import ENDED_STATES, JobReply, SubmitJob, Submitted
from schemas.sampling import Sampling
from schemas.subjects import command
from shared.bus import Message
from tests.support.extractors import Extractors, make_clip
from tests.support.nats import NatsServer
from tests.support.pace import Patience

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

LONG = bool(os.environ.get("FRAMEMESH_TEST_LONG"))
JOBS = 100 if LONG else 8
CLIP_SECONDS = 1
FPS = 4
SUBMITTED_AT_ONCE = 8
LATEST = 2.0  # of the time that a job takes: half of them are completed by then
STORE_BYTES = 24 << 20  # what nats-server takes before it begins, and some jobs
BLOCK = bytes(4096)
MOST_TAKEN = 50
SUBMIT_SECONDS = 8.0  # longer than a service waits for the bus


async def test_a_job_ends_once_whoever_ends_it_and_is_one_whoever_submits_it() -> None:
    async with Extractors(parallel_jobs=1) as extractors:
        clip = make_clip(extractors.videos / "clip.mp4", CLIP_SECONDS)
        told: Counter[tuple[str, str]] = Counter()

        def hear(message: Message) -> None:
            event = msgspec.json.decode(message.data, type=Event)
            told[event.id, event.event] += 1

        await extractors.bus.subscribe("mesh.v1.evt.frame-extractor.>", hear)
        for node in ("edge1", "edge2"):
            extractors.start(node)
        for node in ("edge1", "edge2"):
            await extractors.up(node)
        await extractors.ready()

        async def submit(number: int) -> str:
            """Several times at once, with one key: any instance may answer each."""
            sampling = Sampling(mode="fps", fps=FPS)
            asked = [
                extractors.submit(clip, f"job{number}", key=str(number), sampling=sampling)
                for _ in range(SUBMITTED_AT_ONCE)
            ]
            submitted = await asyncio.gather(*asked)
            assert len({one.job for one in submitted}) == 1
            assert [one.again for one in submitted].count(False) == 1
            return submitted[0].job

        first = (await extractors.ended(await submit(JOBS))).job
        job_seconds = (first.ended_ns - first.started_ns) / 1e9
        jobs = [await submit(number) for number in range(JOBS)]
        chance = random.Random(11)

        async def end(job: str) -> JobReply:
            """Cancelled about when it would be completed."""
            await extractors.when(job, lambda job: job.state != "pending", 60)
            await asyncio.sleep(chance.uniform(0, LATEST * job_seconds))
            canceled = await extractors.cancel(job)
            assert canceled.job.state in ENDED_STATES
            return canceled

        canceled = await asyncio.gather(*(end(job) for job in jobs))
        replies = [await extractors.ended(job) for job in jobs]
        # What the canceller was told is what everybody sees from then on.
        assert [reply.job.state for reply in replies] == [reply.job.state for reply in canceled]
        ended = Counter(reply.job.state for reply in replies)
        print(f"of {JOBS} jobs {dict(ended)}")
        assert ended["failed"] == 0
        patience = Patience(10)
        while (await extractors.usage()).pictures != (ended["completed"] + 1) * CLIP_SECONDS * FPS:
            assert not patience.is_over(), "pictures of completed jobs, and of no others, are counted"
            await asyncio.sleep(0.1)
        for reply in replies:
            assert sum(told[reply.job.id, f"job-{state}"] for state in ENDED_STATES) == 1
            assert told[reply.job.id, f"job-{reply.job.state}"] == 1
            assert told[reply.job.id, "job-submitted"] == 1
            assert bool(reply.frames) == (reply.job.state == "completed")


@pytest.fixture
def small_store() -> Iterator[Extractors]:
    """Their bus has a file system of its own, which is soon full."""
    extractors = Extractors(parallel_jobs=1, give_up_seconds=2)
    configuration = extractors.folder / "nats.conf"
    configuration.write_text("jetstream {max_file_store: 8G}\n")  # it would take the disk's size for the limit
    extractors.nats = NatsServer("-c", str(configuration))
    store = extractors.nats.folder
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={STORE_BYTES}", "tmpfs", store], check=True)
    yield extractors
    subprocess.run(["umount", "-l", store], check=True)


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own is mounted")
async def test_jobs_outlive_a_full_disk_of_the_bus(small_store: Extractors) -> None:
    async with small_store as extractors:
        clip = make_clip(extractors.videos / "clip.mp4", CLIP_SECONDS)
        extractors.start("edge1")
        await extractors.up("edge1")
        await extractors.ready()
        jobs = [(await extractors.submit(clip, "before")).job]
        await extractors.ended(jobs[0])
        filler = extractors.nats.folder / "filler"
        _fill(filler)
        number = await _submit_until_refused(extractors, clip, jobs)
        assert len((await extractors.list()).jobs) >= 1  # who asks what there is gets an answer
        filler.unlink()
        extractors.nats.kill()
        await asyncio.to_thread(extractors.nats.start)
        patience = Patience(20)
        while True:
            try:
                jobs.append((await _submit(extractors, clip, number)).job)
                break
            except Unavailable:
                assert not patience.is_over()
                await asyncio.sleep(0.1)
        assert len(set(jobs)) == len(jobs)
        for job in jobs:
            assert (await extractors.ended(job, 40)).job.state == "completed"


async def _submit_until_refused(extractors: Extractors, clip: Path, jobs: list[str]) -> int:
    """What the server has begun to write it still can; returns the number of the first job that it cannot take."""
    for number in range(MOST_TAKEN):
        try:
            jobs.append((await _submit(extractors, clip, number)).job)
        except Unavailable:
            return number
    raise AssertionError("the disk is not full")


async def _submit(extractors: Extractors, clip: Path, number: int) -> Submitted:
    """With a key: it is safe to ask again."""
    request: SubmitJob = extractors.request(clip, f"full{number}", key=f"full{number}")
    return await extractors.bus.request(command("frame-extractor", "submit"), request, Submitted, SUBMIT_SECONDS)


def _fill(path: Path) -> None:
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(file, BLOCK)
    except OSError:
        pass
    finally:
        os.close(file)

"""Jobs on a real bus with real workers: every command, every way for a job to end, and who may write."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from schemas.errors import BadRequest, NotFound
from schemas.events import Event
from schemas.extraction import JobReply, SubmitJob, Submitted
from schemas.sampling import PictureOptions, Sampling
from shared.bus import Message
from tests.support.extractors import Extractors, make_clip
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

WORKER, OTHER = "edge1", "edge2"
GIVE_UP_SECONDS = 2
ATTEMPTS = 2
SHORT = Sampling(mode="fps", fps=2)
# Every picture of the long clip as png: some ten seconds of work.
LONG = {"sampling": Sampling(mode="frames", interval_frames=1), "pictures": PictureOptions(format="png")}
PASSWORD = "hunter2-of-the-archive"


class Rig:
    def __init__(self, extractors: Extractors) -> None:
        self.extractors = extractors
        self.clip = make_clip(extractors.videos / "clip.mp4")
        self.long_clip = make_clip(extractors.videos / "long.mp4", 10, "1280x720")
        self.events: list[Event] = []

    def written(self, job: str, name: str) -> bytes:
        return (self.extractors.pictures / job / name).read_bytes()

    def hear(self, message: Message) -> None:
        self.events.append(msgspec.json.decode(message.data, type=Event))

    def told(self, job: str) -> list[str]:
        return [event.event for event in self.events if event.id == job]

    async def heard(self, job: str, last: str) -> list[str]:
        """What is told of a job, up to `last`: that follows its record."""
        patience = Patience(5)
        while last not in (told := self.told(job)):
            assert not patience.is_over(), told
            await asyncio.sleep(0.02)
        return told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    async with Extractors(give_up_seconds=GIVE_UP_SECONDS, attempts=ATTEMPTS, parallel_jobs=1) as extractors:
        rig = Rig(extractors)
        await extractors.bus.subscribe("mesh.v1.evt.frame-extractor.>", rig.hear)
        extractors.start(WORKER)
        await extractors.ready()
        yield rig


async def test_a_job_is_done_and_told_of(rig: Rig) -> None:
    submitted = await rig.extractors.submit(rig.clip, "first", sampling=SHORT, owner="shop")
    assert (submitted.state, submitted.again) == ("pending", False)
    reply = await rig.extractors.ended(submitted.job)
    job = reply.job
    assert (job.state, job.done, job.expected, job.attempt, job.failure) == ("completed", 4, 4, 1, "")
    assert job.facts is not None
    assert (job.facts.width, job.facts.height, job.facts.duration_s) == (160, 90, 2.0)
    assert [(frame.index, frame.timestamp_s) for frame in reply.frames] == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5)]
    for frame in reply.frames:
        assert rig.written("first", Path(frame.path).name).startswith(b"\xff\xd8\xff")
    assert job.submitted_ns < job.started_ns < job.ended_ns
    told = await rig.heard(job.id, "job-completed")
    # Progress is told of where a busy machine takes half a second for it.
    assert [name for name in told if name != "job-progress"] == ["job-submitted", "job-started", "job-completed"]
    usage = await rig.extractors.usage(owner="shop")
    assert (usage.pictures, usage.usage[0].jobs, usage.usage[0].owner) == (4, 1, "shop")
    assert (await rig.extractors.usage(owner="nobody")).usage == ()


async def test_the_same_key_is_the_same_job_also_in_a_race(rig: Rig) -> None:
    submit = [rig.extractors.submit(rig.clip, "race", key="order 17", owner="shop") for _ in range(20)]
    submitted = await asyncio.gather(*submit)
    assert len({one.job for one in submitted}) == 1
    assert [one.again for one in submitted].count(False) == 1
    other = await rig.extractors.submit(rig.clip, "race-other", key="order 17", owner="bakery")
    assert other.job != submitted[0].job
    assert (await rig.extractors.ended(submitted[0].job)).job.attempt == 1
    assert (await rig.extractors.ended(other.job)).job.state == "completed"
    later = await rig.extractors.submit(rig.clip, "race", key="order 17", owner="shop")
    assert (later.job, later.state, later.again) == (submitted[0].job, "completed", True)
    assert (await rig.heard(later.job, "job-completed")).count("job-submitted") == 1


async def test_jobs_are_listed_the_newest_first_and_are_their_owners(rig: Rig) -> None:
    jobs = [(await rig.extractors.submit(rig.clip, f"list{n}", owner="lister")).job for n in range(3)]
    for job in jobs:
        await rig.extractors.ended(job)
    listed = await rig.extractors.list(owner="lister")
    assert [job.id for job in listed.jobs] == jobs[::-1]
    assert not listed.more
    first = await rig.extractors.list(owner="lister", limit=2)
    assert first.more
    rest = await rig.extractors.list(owner="lister", limit=2, before=first.jobs[-1].id)
    assert ([job.id for job in rest.jobs], rest.more) == ([jobs[0]], False)
    with pytest.raises(NotFound, match="before"):
        await rig.extractors.list(before="task-20260504100000-abcdef")
    assert (await rig.extractors.list(owner="lister", state="failed")).jobs == ()
    with pytest.raises(NotFound, match=jobs[0]):
        await rig.extractors.poll(jobs[0], owner="somebody-else")
    with pytest.raises(NotFound):
        await rig.extractors.poll("task-20260504100000-abcdef")
    assert (await rig.extractors.poll(jobs[0], frames=False)).frames == ()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"video": "ftp://host/a.mp4"}, "video"),
        ({"video": "http://"}, "video"),
        ({"to": "s3://bucket/no-index.jpg"}, "index"),
        ({"to": "gopher://bucket/{index}"}, "to"),
        ({"sampling": Sampling(mode="fps")}, "sampling.fps"),
        ({"sampling": Sampling(start_s=5, end_s=2)}, "sampling.end_s"),
        ({"pictures": PictureOptions(short_side=100, width=10)}, "pictures.short_side"),
    ],
    ids=str,
)
async def test_what_can_never_work_is_refused_at_once(rig: Rig, fields: dict[str, object], named: str) -> None:
    good = rig.extractors.request(rig.clip, "refused")
    with pytest.raises(BadRequest, match=named):
        await rig.extractors.ask("submit", msgspec.structs.replace(good, **fields), JobReply)


async def test_a_video_that_is_none_fails_at_once_and_one_that_may_come_is_tried_again(rig: Rig) -> None:
    text = rig.extractors.videos / "text.mp4"
    text.write_text("no video at all, but some text that is long enough to be looked at")
    reply = await rig.extractors.ended((await rig.extractors.submit(text, "text")).job)
    assert (reply.job.state, reply.job.failure, reply.job.attempt) == ("failed", "video", 1)
    assert "text.mp4" in reply.job.message
    outside = await rig.extractors.ended((await rig.extractors.submit(Path("/etc/passwd"), "passwd")).job)
    assert (outside.job.failure, outside.job.attempt) == ("url", 1)
    assert (await rig.heard(outside.job.id, "job-failed"))[-1] == "job-failed"


async def test_canceled_jobs_end_whether_they_wait_or_run(rig: Rig) -> None:
    running = (await rig.extractors.submit(rig.long_clip, "cancel", **LONG)).job
    waiting = (await rig.extractors.submit(rig.clip, "waiting")).job
    job = await rig.extractors.when(running, lambda job: job.done > 5)
    assert job.expected == 250
    assert (await rig.extractors.poll(waiting)).job.state == "pending"
    for job in (waiting, running):
        assert (await rig.extractors.cancel(job)).job.state == "canceled"
        assert (await rig.extractors.cancel(job)).job.state == "canceled"
    after = (await rig.extractors.ended((await rig.extractors.submit(rig.clip, "after")).job)).job
    assert after.state == "completed"
    written = len(list((rig.extractors.pictures / "cancel").iterdir()))
    assert written < 225
    assert not (rig.extractors.pictures / "waiting").exists()
    assert {(await rig.extractors.poll(job)).job.state for job in (waiting, running)} == {"canceled"}
    assert len(list((rig.extractors.pictures / "cancel").iterdir())) == written
    told = await rig.heard(running, "job-canceled")
    assert "job-progress" in told
    assert told.count("job-canceled") == 1


async def test_a_job_that_kills_its_process_is_parked(rig: Rig) -> None:
    job = (await rig.extractors.submit(rig.long_clip, "poison", **LONG)).job
    for attempt in range(1, ATTEMPTS + 1):
        await rig.extractors.when(job, lambda job, n=attempt: job.attempt == n and job.done > 0)
        for pid in rig.extractors.job_processes(WORKER):
            os.kill(pid, signal.SIGKILL)
    reply = await rig.extractors.ended(job)
    assert (reply.job.state, reply.job.failure, reply.job.attempt) == ("failed", "internal", ATTEMPTS)
    assert "SIGKILL" in reply.job.message
    assert [found.id for found in (await rig.extractors.list(state="failed", limit=1)).jobs] == [job]
    told = await rig.heard(job, "job-failed")
    assert told[-1] == "job-failed"
    assert told.count("job-retried") == ATTEMPTS - 1
    assert (await rig.extractors.ended((await rig.extractors.submit(rig.clip, "next")).job)).job.state == "completed"


async def test_a_worker_that_was_given_up_writes_nothing_more(rig: Rig) -> None:
    job = (
        await rig.extractors.submit(rig.long_clip, "fenced", sampling=SHORT, pictures=PictureOptions(format="png"))
    ).job
    await rig.extractors.when(job, lambda job: job.state == "running")
    stopped = rig.extractors.processes[WORKER]
    children = rig.extractors.job_processes(WORKER) + rig.extractors.keepers(WORKER)
    for pid in (stopped.pid, *children):
        os.kill(pid, signal.SIGSTOP)
    rig.extractors.start(OTHER)
    try:
        reply = await rig.extractors.ended(job)
    finally:
        for pid in (stopped.pid, *children):
            os.kill(pid, signal.SIGCONT)
    assert (reply.job.state, reply.job.attempt) == ("completed", 2)
    assert reply.job.worker.startswith(OTHER)
    await asyncio.sleep(1.0)  # what the other one would do now
    after = await rig.extractors.poll(job)
    assert after == reply
    assert len(list((rig.extractors.pictures / "fenced").iterdir())) == 20


async def test_the_process_of_a_worker_that_stands_still_writes_nothing_more(rig: Rig) -> None:
    job = (await rig.extractors.submit(rig.long_clip, "silent", **LONG)).job
    running = await rig.extractors.when(job, lambda job: job.done > 0)
    still = WORKER if running.worker.startswith(WORKER) else OTHER
    children = rig.extractors.job_processes(still)
    os.kill(rig.extractors.processes[still].pid, signal.SIGSTOP)  # and only it: its job goes on, for a while
    try:
        taken = await rig.extractors.when(job, lambda job: job.attempt == 2)
        patience = Patience(GIVE_UP_SECONDS)
        while any(_runs(pid) for pid in children):
            assert not patience.is_over(), "two processes write the pictures of one job"
            await asyncio.sleep(0.02)
        assert not taken.worker.startswith(still)
    finally:
        os.kill(rig.extractors.processes[still].pid, signal.SIGCONT)
    assert (await rig.extractors.cancel(job)).job.attempt == 2


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def test_a_worker_that_stops_gives_its_job_back_at_once(rig: Rig) -> None:
    job = (await rig.extractors.submit(rig.long_clip, "stopped", sampling=SHORT)).job
    running = await rig.extractors.when(job, lambda job: job.state == "running")
    node = WORKER if running.worker.startswith(WORKER) else OTHER
    assert await asyncio.to_thread(rig.extractors.kill, node, signal.SIGTERM) == 0
    reply = await rig.extractors.ended(job)
    assert (reply.job.state, reply.job.attempt) == ("completed", 2)
    rig.extractors.start(node)


async def test_the_secrets_of_an_address_are_shown_to_nobody(rig: Rig) -> None:
    request = SubmitJob(
        video=f"http://user:{PASSWORD}@127.0.0.1:9/clip.mp4?token={PASSWORD}",
        to=f"file://{rig.extractors.pictures}/secret/{{index}}.jpg",
    )
    with pytest.raises(BadRequest):
        await rig.extractors.ask(
            "submit", msgspec.structs.replace(request, to=f"s3://k:{PASSWORD}@b/{{index}}"), JobReply
        )
    submitted = await rig.extractors.ask("submit", request, Submitted)
    reply = await rig.extractors.ended(submitted.job)
    assert reply.job.state == "failed"
    shown = msgspec.json.encode((reply, await rig.extractors.list())).decode() + rig.extractors.log.read_text()
    assert PASSWORD not in shown
    assert all(PASSWORD not in repr(event) for event in rig.events)

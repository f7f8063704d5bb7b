"""Parts of jobs by themselves: states, memory, and lists of pictures."""

import asyncio
import time
import zlib

import msgspec
import pytest

from schemas.extraction import ExtractedFrame, JobRecord, JobTask, SubmitJob, VideoFacts
from services.frame_extractor.jobs import states
from services.frame_extractor.jobs.memory import MemoryBudget, needed_bytes
from services.frame_extractor.jobs.pages import make_pages

pytestmark = pytest.mark.unit

JOB = "task-20260504100000-abc123"
FACTS = VideoFacts(duration_s=1.0, width=16, height=16, note="the end is missing")


def waiting() -> JobRecord:
    request = SubmitJob(video="https://host/a.mp4", to="s3://bucket/{index}.jpg", owner="shop")
    return states.submitted(JobTask(job=JOB, submitted_ns=1, request=request))


def test_a_job_is_claimed_and_completed() -> None:
    claimed = states.claimed(waiting(), "edge1-1")
    assert (claimed.job.state, claimed.job.attempt, claimed.tries, claimed.job.worker) == ("running", 1, 1, "edge1-1")
    done = states.completed(states.advanced(claimed, 3, 9), FACTS, 8, (0,))
    assert (done.job.state, done.job.done, done.job.expected) == ("completed", 8, 8)
    assert done.job.message == "the end is missing"
    assert states.has_ended(done)
    assert done.job.ended_ns >= done.job.started_ns > 0


def test_a_job_that_is_given_back_has_lost_no_try_but_keeps_its_number() -> None:
    back = states.given_back(states.claimed(waiting(), "edge1-1"))
    assert (back.job.state, back.job.attempt, back.tries, back.job.worker) == ("pending", 1, 0, "")
    # Never used twice: an attempt's own results lie under it.
    assert states.claimed(back, "edge2-1").job.attempt == 2


def test_what_is_put_off_says_why_and_a_new_attempt_begins_afresh() -> None:
    off = states.put_off(states.advanced(states.claimed(waiting(), "w"), 5, 9), "download", "HTTP 503", 4)
    assert (off.job.state, off.job.failure) == ("pending", "download")
    assert off.job.message == "attempt 1 failed (HTTP 503); the next one is in 4 s"
    again = states.claimed(off, "w").job
    assert (again.done, again.expected, again.failure, again.message) == (0, None, "", "")


def test_retries_come_later_and_later() -> None:
    seconds = [states.retry_seconds(tries) for tries in range(1, 8)]
    assert seconds[:3] == [1, 4, 16]
    assert seconds == sorted(seconds)
    assert seconds[-1] == states.retry_seconds(50) == 300


def test_memory_goes_by_the_size_of_pictures() -> None:
    hd, uhd = needed_bytes(1920, 1080, 2), needed_bytes(3840, 2160, 2)
    assert 200 << 20 < hd < 300 << 20
    assert 600 << 20 < uhd < 800 << 20
    assert needed_bytes(1920, 1080, 1) < hd


async def test_memory_is_given_in_turn_and_never_more_than_there_is() -> None:
    budget = MemoryBudget(100)
    order: list[str] = []
    most = 0

    async def job(name: str, size: int, ends: asyncio.Event) -> None:
        nonlocal most
        async with budget.share(size):
            order.append(name)
            most = max(most, budget.used_bytes)
            await ends.wait()

    ends = {name: asyncio.Event() for name in "abcd"}
    jobs = {
        name: asyncio.create_task(job(name, size, ends[name]))
        for name, size in zip("abcd", (60, 500, 30, 30), strict=True)
    }
    await asyncio.sleep(0)
    assert order == ["a"]  # b wants all there is; c would fit, but b is first
    jobs["c"].cancel()
    ends["a"].set()
    await jobs["a"]
    await asyncio.sleep(0)
    assert order == ["a", "b"]
    ends["b"].set()
    await asyncio.gather(jobs["b"])
    await asyncio.sleep(0)
    assert order == ["a", "b", "d"]
    jobs["d"].cancel()
    await asyncio.gather(*jobs.values(), return_exceptions=True)
    assert budget.used_bytes == 0
    assert most == 100


async def test_who_waits_for_memory_may_give_up_in_the_moment_in_which_some_is_freed() -> None:
    budget, ends = MemoryBudget(100), asyncio.Event()

    async def job() -> None:
        async with budget.share(100):
            await ends.wait()

    first, second = asyncio.create_task(job()), asyncio.create_task(job())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ends.set()
    second.cancel()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert budget.used_bytes == 0


@pytest.mark.parametrize("path_characters", [20, 4000])
@pytest.mark.parametrize("count", [0, 1, 2000, 2001, 5003])
def test_pages_hold_every_picture_once_and_fit_into_a_message(count: int, path_characters: int) -> None:
    path = "x" * path_characters
    frames = [
        ExtractedFrame(index=n, timestamp_s=n / 2, pts_s=n / 2, width=16, height=16, path=f"{path}{n}")
        for n in range(count)
    ]
    pages = list(make_pages(frames))
    found: list[ExtractedFrame] = []
    for page in pages:
        assert page.first == len(found)
        text = zlib.decompress(page.data)
        assert len(text) < 500_000
        found += msgspec.json.decode(text, type=list[ExtractedFrame])
    assert found == frames


def test_times_go_forward_also_between_nodes_whose_clocks_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    second_ns = 1_000_000_000
    clock_ns = 100 * second_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock_ns)
    request = SubmitJob(video="https://host/a.mp4", to="s3://bucket/{index}.jpg")
    record = states.submitted(JobTask(job=JOB, submitted_ns=clock_ns, request=request))
    clock_ns -= 2 * second_ns  # the worker's
    job = states.claimed(record, "edge2-1").job
    assert job.started_ns == record.job.submitted_ns
    assert states.canceled(record).job.ended_ns == record.job.submitted_ns
    clock_ns += 1 * second_ns
    done = states.completed(states.claimed(record, "edge2-1"), FACTS, 1, (0,)).job
    assert done.submitted_ns <= done.started_ns <= done.ended_ns

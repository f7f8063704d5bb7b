"""What `framemesh extract` makes of its arguments, and the bar that it draws."""

import argparse
import asyncio
from typing import Any

import msgspec
import pytest

from schemas.errors import BadRequest
from schemas.extraction import ExtractedFrame, Job, JobReply, PollJob
from schemas.sampling import PictureOptions, Sampling
from services.cli import extract, jobs
from services.cli.poll import poll_all
from services.cli.progress import bar

pytestmark = pytest.mark.unit

JOB = "task-20260504100000-abc123def456"


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    extract.add_arguments(parser)
    return parser.parse_args(["clip.mp4", *arguments])


@pytest.mark.parametrize(
    ("arguments", "sampling"),
    [
        ("", Sampling()),
        ("--fps 2", Sampling(fps=2)),
        ("--fps 2 --from-start", Sampling(mode="fps", fps=2)),
        ("--from-start", Sampling(mode="fps", fps=1)),
        ("--every 500ms --max 7", Sampling(mode="interval", interval_s=0.5, max_frames=7)),
        ("--every-frames 100", Sampling(mode="frames", interval_frames=100)),
        ("--count 9 --start 1m --end 2m", Sampling(mode="uniform", count=9, start_s=60, end_s=120)),
        ("--at 1.5,3,0", Sampling(mode="timestamps", timestamps_s=(1.5, 3, 0))),
    ],
)
def test_every_mode_has_its_option(arguments: str, sampling: Sampling) -> None:
    assert extract._request(parsed(*arguments.split())).sampling == sampling


def test_pictures_and_places() -> None:
    request = extract._request(parsed("--format", "webp", "--quality", "70", "--width", "64", "-o", "/some where"))
    assert request.pictures == PictureOptions(format="webp", quality=70, width=64)
    assert request.to == "file:///some%20where/frame_{index:05d}.{autoext}"
    job = extract._request(parsed("--to", "s3://bucket/{index}.jpg", "--key", "a", "--owner", "shop"))
    assert (job.to, job.key, job.owner) == ("s3://bucket/{index}.jpg", "a", "shop")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--fps 0", "--fps"),
        ("--fps nan", "--fps"),
        ("--every soon", "--every"),
        ("--every 0s", "--every: expected a number > 0"),
        ("--every-frames 0", "--every-frames"),
        ("--count 0", "--count"),
        ("--max 0", "--max"),
        ("--at 1;2", "--at"),
        ("--at nan", "--at nan: "),
        ("--start 5s --end 1s", "--end 1.0: "),
        ("--short-side 9 --width 9", "--short-side 9: "),
        ("--quality 101", "--quality"),
        ("--key a", "--to"),
        ("--to s3://b/{index} --owner Not-An-Id", "--owner"),
    ],
)
def test_what_is_wrong_is_named(arguments: str, named: str) -> None:
    with pytest.raises(BadRequest) as refused:
        msgspec.json.encode(extract._request(parsed(*arguments.split())))
    assert named in refused.value.message


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (f"show {JOB} --state failed", "--state: jobs show"),
        ("usage --limit 3", "--limit: jobs usage"),
        ("list --since 20260501", "--since: jobs list"),
    ],
)
def test_an_option_of_another_action_is_not_passed_over(arguments: str, named: str) -> None:
    parser = argparse.ArgumentParser()
    jobs.add_arguments(parser)
    with pytest.raises(BadRequest, match=named):
        asyncio.run(jobs.run(parser.parse_args(arguments.split())))


class Pages:
    """A job of five pictures, two to a page."""

    async def request(self, subject: str, request: PollJob, reply_type: type[JobReply]) -> JobReply:
        job = Job(id=JOB, state="completed", owner="mesh", video="", to="", submitted_ns=1, done=5)
        frames = [
            ExtractedFrame(index=2 * n, timestamp_s=n, pts_s=n, width=1, height=1, path=f"file://{n}") for n in range(5)
        ]
        return JobReply(job=job, frames=tuple(frames[request.first : request.first + 2]), more=request.first < 3)


async def test_a_job_is_told_with_all_its_pictures() -> None:
    pages: Any = Pages()
    reply = await poll_all(pages, PollJob(job=JOB))
    assert ([frame.index for frame in reply.frames], reply.more) == ([0, 2, 4, 6, 8], False)


def test_the_bar_fits_its_terminal() -> None:
    assert bar(0, None, 80) == "0 pictures"
    assert bar(50, 100, 80) == "█" * 20 + "░" * 20 + " 50/100 pictures  50 %"
    assert bar(100, 100, 80).count("░") == 0
    for columns in range(1, 100):
        assert len(bar(123_456, 654_321, columns)) <= columns

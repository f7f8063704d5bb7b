"""`framemesh extract` and `framemesh jobs` as a person uses them."""

import asyncio
import json
import os
import pty
import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.extractors import Extractors, make_clip
from tests.support.mesh import FRAMEMESH

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

SECONDS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def extractors() -> AsyncIterator[Extractors]:
    async with Extractors(parallel_jobs=1) as extractors:
        make_clip(extractors.videos / "clip.mp4", SECONDS)
        extractors.start("edge1")
        await extractors.ready()
        yield extractors


async def framemesh(extractors: Extractors, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "FRAMEMESH_NATS_URL": extractors.nats.url}
    return await asyncio.to_thread(
        subprocess.run,
        [*FRAMEMESH, *arguments],
        env=environment,
        cwd=extractors.videos,
        capture_output=True,
        text=True,
        timeout=30,
    )


async def test_here_it_needs_no_mesh(extractors: Extractors) -> None:
    done = await framemesh(extractors, "extract", "clip.mp4", "--count", "3", "--short-side", "45", "--format", "png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 pictures in ")
    folder = extractors.videos / "clip"
    assert sorted(path.name for path in folder.iterdir()) == [f"frame_{n:05d}.png" for n in range(3)]
    told = await framemesh(extractors, "extract", "clip.mp4", "--every-frames", "20", "-o", "out", "--json")
    assert [frame["frame_index"] for frame in json.loads(told.stdout)["frames"]] == [0, 20, 40]
    assert len((await extractors.list()).jobs) == 0
    wrong = await framemesh(extractors, "extract", "nothing.mp4")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "nothing.mp4" in wrong.stderr
    assert "Traceback" not in wrong.stderr


async def test_what_a_new_user_gets_wrong(extractors: Extractors) -> None:
    (extractors.videos / "notes.txt").write_text("no video")
    for arguments, said in (
        ("nothing.mp4", ("error 404", "nothing.mp4': there is no such file")),
        ("notes.txt", ("error 400", "notes.txt is not media that can be read")),
        ("clip.mp4 --start 20s", ("0 pictures", "no moment that was asked for is in the video, which is 2 s long")),
    ):
        done = await framemesh(extractors, "extract", *arguments.split())
        assert all(part in done.stdout + done.stderr for part in said), done


async def test_a_bar_is_drawn_on_a_terminal_only(extractors: Extractors) -> None:
    ours, theirs = pty.openpty()
    try:
        command = [*FRAMEMESH, "extract", "long.mp4", "--every-frames", "1", "--format", "png", "-o", "bar"]
        make_clip(extractors.videos / "long.mp4", 3, "640x360")
        done = await asyncio.to_thread(
            subprocess.run, command, stderr=theirs, stdout=subprocess.PIPE, cwd=extractors.videos, timeout=30
        )
        drawn = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout.startswith(b"75 pictures")
    assert "/75 pictures" in drawn
    assert "█" in drawn
    assert drawn.endswith("\x1b[K")


async def test_jobs_of_the_mesh(extractors: Extractors) -> None:
    to = f"file://{extractors.pictures}/cli/{{index}}.{{autoext}}"
    video = f"file://{extractors.videos}/clip.mp4"
    done = await framemesh(extractors, "extract", video, "--to", to, "--fps", "2", "--owner", "shop")
    assert done.stdout.startswith("4 pictures in "), done.stderr
    assert sorted(path.name for path in (extractors.pictures / "cli").iterdir()) == [f"00{n}.jpg" for n in range(4)]
    job = (await framemesh(extractors, "extract", video, "--to", to, "--key", "k", "--no-wait")).stdout.strip()
    await extractors.ended(job)
    listed = await framemesh(extractors, "jobs", "--state", "completed")
    assert listed.stdout.splitlines()[1].split()[:3] == [job, "completed", "mesh"]
    usage = await framemesh(extractors, "jobs", "usage", "--owner", "shop")
    assert usage.stdout.splitlines()[1].split()[2:] == ["1", "4"]
    shown = await framemesh(extractors, "jobs", "show", job, "--json")
    assert [frame["timestamp_s"] for frame in json.loads(shown.stdout)["frames"]] == [0.5, 1.5]
    anothers = await framemesh(extractors, "jobs", "cancel", job, "--owner", "shop")
    assert "does not exist" in anothers.stderr
    canceled = await framemesh(extractors, "jobs", "cancel", job)
    assert f"{job}: completed" in canceled.stdout  # it had ended

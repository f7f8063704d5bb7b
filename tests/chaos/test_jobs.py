"""Workers are killed in the middle of their jobs, and the bus with them: every job is done, and none twice."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from schemas.errors import MeshError
from schemas.sampling import Sampling
from tests.support.extractors import Extractors, make_clip
from tests.support.pace import Patience, patience

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

LONG = bool(os.environ.get("FRAMEMESH_TEST_LONG"))
JOBS = 200 if LONG else 20
KILL_SECONDS = (0.8, 2.5) if LONG else (0.1, 0.5)
NODES = ("edge1", "edge2")
FPS = 4
CLIP_SECONDS = 2
SERVER_AWAY_SECONDS = 0.5
DONE_SECONDS = 300 if LONG else 60


async def test_every_job_is_done_once_however_often_its_workers_die() -> None:
    async with Extractors(give_up_seconds=2, attempts=20) as extractors:
        clip = make_clip(extractors.videos / "clip.mp4", CLIP_SECONDS)
        for node in NODES:
            extractors.start(node)
        await extractors.ready()
        sampling = Sampling(mode="fps", fps=FPS)

        async def submit(number: int) -> str:
            patience = Patience(DONE_SECONDS)
            while True:
                try:
                    return (await extractors.submit(clip, f"job{number}", key=str(number), sampling=sampling)).job
                except MeshError:  # who was asked was killed; with a key it is safe to ask again
                    if patience.is_over():
                        raise

        jobs = [await submit(number) for number in range(JOBS // 2)]
        chaos = _Chaos(extractors)
        killing = asyncio.create_task(chaos.run())
        try:
            async with patience(DONE_SECONDS):
                await chaos.server_was_killed.wait()
            jobs += [await submit(number) for number in range(JOBS // 2, JOBS)]
            assert len(set(jobs)) == JOBS
            replies = [await extractors.ended(job, DONE_SECONDS) for job in jobs]
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        attempts = sum(reply.job.attempt for reply in replies)
        print(f"{JOBS} jobs in {attempts} attempts; killed: {chaos.workers} workers, {chaos.servers} servers")
        assert [reply.job.message for reply in replies if reply.job.state != "completed"] == []
        names = [f"{index:04d}.jpg" for index in range(CLIP_SECONDS * FPS)]
        for number, reply in enumerate(replies):
            assert [Path(frame.path).name for frame in reply.frames] == names
            # These and nothing else: no half pictures, no second ones under other names.
            assert sorted(path.name for path in (extractors.pictures / f"job{number}").iterdir()) == names
        assert chaos.workers >= 2
        assert chaos.servers == 1
        listed = (await extractors.list(limit=1000)).jobs
        assert sorted(job.id for job in listed) == sorted(jobs)
        await _counted_once(extractors)


async def _counted_once(extractors: Extractors) -> None:
    """What is counted last is counted by whoever gets the job again when its worker died just before."""
    patience = Patience(10)
    while True:
        usage = await extractors.usage()
        if sum(day.jobs for day in usage.usage) >= JOBS or patience.is_over():
            break
        await asyncio.sleep(0.1)
    assert usage.pictures == JOBS * CLIP_SECONDS * FPS
    assert sum(day.jobs for day in usage.usage) == JOBS


class _Chaos:
    """Kills a worker now and then, and the bus once."""

    def __init__(self, extractors: Extractors) -> None:
        self._extractors = extractors
        self._chance = random.Random(7)
        self.workers = self.servers = 0
        self.server_was_killed = asyncio.Event()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(*KILL_SECONDS))
            node = self._chance.choice(NODES)
            self._extractors.kill(node)
            self._extractors.start(node)
            self.workers += 1
            await self._extractors.up(node)  # on a slow machine none would ever do anything
            if self.workers == 2:
                self._extractors.nats.kill()
                await asyncio.sleep(SERVER_AWAY_SECONDS)
                await asyncio.to_thread(self._extractors.nats.start)
                self.servers += 1
                self.server_was_killed.set()

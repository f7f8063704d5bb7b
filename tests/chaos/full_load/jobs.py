"""Extraction jobs that come all the time, and the proof that each was done once."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import BadRequest, MeshError
from schemas.events import Event
from schemas.extraction import ENDED_STATES, GetUsage, JobRecord, SubmitJob, Submitted, UsageReply
from schemas.sampling import Sampling
from schemas.subjects import JOBS_BUCKET, command, events_named, job_key
from shared.bus import Bus, Message
from tests.chaos.full_load.flows import Flow
from tests.support.pace import Patience

CLIP_SECONDS: Final = 1
FPS: Final = 2
EVERY_SECONDS: Final = 1.0
_SERVICE: Final = "frame-extractor"
_REPLY_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.2
_TELL_LOOKS: Final = 25  # five seconds
_END_SECONDS: Final = 60.0
"""Four attempts of a job whose workers died, and those that wait behind it."""


class Jobs:
    """Asks for one each second, again and again with the same key until it is taken."""

    def __init__(self, bus: Bus, clip: Path, pictures: Path, flow: Flow) -> None:
        self._bus, self._clip, self._pictures, self._flow = bus, clip, pictures, flow
        self.submitted: list[str] = []
        self.wrong: list[str] = []
        self._told: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """For ever."""
        await self._bus.subscribe(events_named(_SERVICE, "job-completed"), self._hear)
        number = 0
        while True:
            await self._submit(number)
            number += 1
            await asyncio.sleep(EVERY_SECONDS)

    def _hear(self, message: Message) -> None:
        """Told live, once at most: who was away hears nothing, which the records make good for."""
        job = msgspec.json.decode(message.data, type=Event).id
        self._told[job] += 1
        self._flow.arrive()
        if self._told[job] == 2:
            self.wrong.append(f"job {job} was completed twice")

    async def _submit(self, number: int) -> None:
        to = f"file://{self._pictures}/job{number}/{{index:04d}}.{{autoext}}"
        sampling = Sampling(mode="fps", fps=FPS)
        request = SubmitJob(video=f"file://{self._clip}", to=to, key=str(number), sampling=sampling)
        while True:
            try:
                reply = await self._bus.request(command(_SERVICE, "submit"), request, Submitted, _REPLY_SECONDS)
                break
            except BadRequest as error:
                self.wrong.append(f"job {number} is refused: {error}")
                raise
            except MeshError:  # nobody is there, or its answer was lost
                await asyncio.sleep(_AGAIN_SECONDS)
        if reply.job in self.submitted:
            self.wrong.append(f"jobs {self.submitted.index(reply.job)} and {number} are both {reply.job}")
        self.submitted.append(reply.job)

    async def check(self) -> list[str]:
        """Wait until all have ended; what is wrong with them, a line for each."""
        wrong = list(self.wrong)
        names = [f"{index:04d}.jpg" for index in range(CLIP_SECONDS * FPS)]
        patience = Patience(_END_SECONDS)
        for number, job in enumerate(self.submitted):
            state = await self._ended(job, patience)
            if state != "completed":
                wrong.append(f"job {number}, {job}: {state}")
                continue
            found = sorted(path.name for path in (self._pictures / f"job{number}").iterdir())
            if found != names:
                wrong.append(f"job {number}, {job}: pictures {found}, not {names}")
        if not wrong:
            wrong += await self._counted_twice(patience)
        return wrong

    async def _ended(self, job: str, patience: Patience) -> str:
        looks = 0
        while True:
            try:
                entry = await (await self._bus.bucket(JOBS_BUCKET)).get(job_key(job))
            except MeshError as error:
                if patience.is_over():
                    return f"not known: {error}"
                entry = None
            record = msgspec.json.decode(entry.value, type=JobRecord) if entry else None
            if record is not None and record.job.state in ENDED_STATES:
                return f"{record.job.state} {record.job.message}".strip()
            if patience.is_over():
                return f"lost: {record}"
            looks += 1
            if looks % _TELL_LOOKS == 0:
                print(f"waits for {record.job if record else job}", file=sys.stderr, flush=True)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _counted_twice(self, patience: Patience) -> list[str]:
        """Usage counts each completed job once, whoever completed it."""
        expected = len(self.submitted) * CLIP_SECONDS * FPS
        counted = -1
        while counted != expected and not patience.is_over():
            try:
                counted = (
                    await self._bus.request(command(_SERVICE, "usage"), GetUsage(), UsageReply, _REPLY_SECONDS)
                ).pictures
            except MeshError:  # asked again
                counted = -1
            await asyncio.sleep(_AGAIN_SECONDS)
        return [] if counted == expected else [f"usage counts {counted} pictures of jobs, there are {expected}"]

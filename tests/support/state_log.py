"""A stream's state as somebody sees it who asks all the time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from shared.clients.mesh import AsyncMesh
from shared.tasks import end_tasks
from tests.support.pace import patience

SAMPLE_SECONDS = 0.05


class Sample(NamedTuple):
    at: float
    """Monotonic seconds, when the reply was there."""
    stats: dict[str, Any]

    @property
    def state(self) -> str:
        return str(self.stats["state"])


class StateLog:
    """Every answer of `capture.<stream>.stats`, twenty a second; made by `watching`."""

    def __init__(self, app: AsyncMesh, stream: str) -> None:
        self._app, self._stream = app, stream
        self.samples: list[Sample] = []
        self._news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def watching(cls, app: AsyncMesh, stream: str) -> AsyncIterator["StateLog"]:
        log = cls(app, stream)
        task = asyncio.create_task(log._watch())
        try:
            yield log
        finally:
            await end_tasks(task)

    async def _watch(self) -> None:
        while True:
            stats = await self._app.call(f"capture.{self._stream}.stats")
            self.samples.append(Sample(time.monotonic(), stats))
            self._news.set()
            self._news = asyncio.Event()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def until(self, condition: Callable[[Sample], Any], seconds: float = 10.0) -> Sample:
        """The first answer from now on that is so."""
        seen = len(self.samples)
        try:
            async with patience(seconds):
                while True:
                    for sample in self.samples[seen:]:
                        if condition(sample):
                            return sample
                    seen = len(self.samples)
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s; the last was {self.samples[-1:]}") from None

    async def reaches(self, state: str, seconds: float = 10.0) -> Sample:
        """The first answer from now on with that state."""
        return await self.until(lambda sample: sample.state == state, seconds)

    def states(self, since: float) -> list[str]:
        """What was shown since then, each change once."""
        shown = [sample.state for sample in self.samples if sample.at >= since]
        return [state for before, state in zip([None, *shown], shown, strict=False) if state != before]

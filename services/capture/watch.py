"""One task that looks at every stream of this service a few times a second: does it still come, does it still move?"""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from services.capture.filler import INTERVAL_SECONDS
from services.capture.rates import SAMPLE_SECONDS
from services.capture.stream import StreamRunner

log = logging.getLogger(__name__)

_FILL_EVERY_LOOKS = round(INTERVAL_SECONDS / SAMPLE_SECONDS)


class Watch:
    """Looks at the runners, and has something written for those whose source is lost."""

    def __init__(self, runners: Mapping[str, StreamRunner]) -> None:
        self._runners = runners
        # Copying a picture takes milliseconds, which the event loop does not have; one thread does it for all.
        self._writer = ThreadPoolExecutor(1, "stand-in")
        self._writing: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        looks = 0
        try:
            while True:
                now = time.monotonic()
                for runner in tuple(self._runners.values()):
                    runner.look(now)
                looks += 1
                if looks % _FILL_EVERY_LOOKS == 0:
                    self._fill()
                await asyncio.sleep(SAMPLE_SECONDS)  # the absence of a picture is no event
        finally:
            self._writer.shutdown(wait=False, cancel_futures=True)

    def _fill(self) -> None:
        if self._writing is not None and not self._writing.done():
            return  # a full round is still under way: a slow machine gets fewer of these pictures
        works = [work for runner in tuple(self._runners.values()) if (work := runner.stand_in())]
        if not works:
            return

        def fill() -> None:
            for work in works:
                try:
                    work()
                except Exception:  # a bug at one stream must not take the others' pictures away
                    log.exception("no picture stands in for a lost source")

        self._writing = asyncio.get_running_loop().run_in_executor(self._writer, fill)

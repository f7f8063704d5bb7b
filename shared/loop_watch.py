"""Watches an event loop and the clocks from within: how late its callbacks come, whether the wall clock has jumped."""

import asyncio
import logging
import time
from typing import Final

from shared.metrics import Distribution

_log = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 0.25  # a look costs some 20 us; what blocks the loop for less than this costs nobody a picture
# From what a busy machine always has to what makes a service be taken for dead.
_LAG_BOUNDS_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# NTP slews 0.5 ms in a second at most and steps from 128 ms on.
_STEP_SECONDS: Final = 0.1
# Counting takes some 10 us for a hundred tasks, and a gateway has thousands.
_TASKS_EVERY_LOOKS: Final = 20
_UNDISTURBED_SECONDS: Final = 0.01  # both clocks are read within this, or they are read again at the next look


class LoopWatch:
    """Looks from `start` to `close`; belongs to the loop, others may read."""

    def __init__(self) -> None:
        self.lag_seconds = Distribution(_LAG_BOUNDS_SECONDS)
        """How late a callback came, four a second."""
        self.clock_steps = 0
        """Times the wall clock jumped, or the machine slept."""
        self.tasks = 0
        """Of the loop, that are not done; counted every five seconds."""
        self._looks = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._offset_seconds = time.time() - time.monotonic()

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._again(self._loop)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + _EVERY_SECONDS
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        assert self._loop is not None
        self.lag_seconds.observe(max(0.0, self._loop.time() - self._due))
        self.compare_clocks(time.monotonic(), time.time(), time.monotonic())
        if self._looks % _TASKS_EVERY_LOOKS == 0:
            self.tasks = len(asyncio.all_tasks(self._loop))
        self._looks += 1
        self._again(self._loop)

    def compare_clocks(self, before_seconds: float, wall_seconds: float, after_seconds: float) -> None:
        """The wall clock, read between two looks at the monotonic one."""
        if after_seconds - before_seconds > _UNDISTURBED_SECONDS:
            return
        offset_seconds = wall_seconds - before_seconds
        step_seconds = offset_seconds - self._offset_seconds
        # Also below the limit: a clock that is slewed for hours has not stepped.
        self._offset_seconds = offset_seconds
        if abs(step_seconds) > _STEP_SECONDS:
            self.clock_steps += 1
            _log.warning("the clock of this machine has been set by %+.3f s, or the machine has slept", step_seconds)

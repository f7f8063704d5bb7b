"""Time that stands still until a test lets it go on."""

import heapq
from collections.abc import Callable
from itertools import count


class VirtualTimer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class VirtualTimers:
    """`now` and `call_later` of an event loop."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, VirtualTimer]] = []
        self._numbers = count()

    def now(self) -> float:
        return self._now

    def call_later(self, seconds: float, call: Callable[[], None]) -> VirtualTimer:
        timer = VirtualTimer(call)
        heapq.heappush(self._due, (self._now + seconds, next(self._numbers), timer))
        return timer

    def run_until(self, at: float) -> None:
        """Let time go on, and call what is due on the way."""
        while self._due and self._due[0][0] <= at:
            self._now, _, timer = heapq.heappop(self._due)
            if timer.call is not None:
                timer.call()
        self._now = max(self._now, at)

"""How long an output stays on: timed here, and marked for who comes after a hand that is killed within it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from schemas.signal_resources import SignalSpec
from schemas.units import NS_PER_SECOND, parse_duration
from services.io_signal.hand.keep_marks import KeepMarks
from services.io_signal.hand.protocol import Switch

_MS: Final = 1_000
_NS_PER_MS: Final = 1_000_000


class KeepTime:
    """Belongs to the event loop."""

    def __init__(self, signal: str, marks: KeepMarks, over: Callable[[], None]) -> None:
        """`over` is called at its end."""
        self._signal, self._marks, self._over = signal, marks, over
        self._timer: asyncio.TimerHandle | None = None

    @property
    def was_lost(self) -> bool:
        """A hand was killed while the output was on for a keep time."""
        return self._marks.is_set(self._signal)

    def about_to_begin(self, spec: SignalSpec, asked: Switch) -> None:
        """The device is told next."""
        if spec.safe == "hold" and keep_ms(spec, asked):
            self._marks.set(self._signal)

    def begin(self, milliseconds: int, edge_ns: int, longest_ago_seconds: float) -> int:
        """It runs from the edge on, which was not longer ago; CLOCK_REALTIME of its end. 0 ms: there is none, which
        ends the one before."""
        self.forget()
        if not milliseconds:
            self._marks.clear(self._signal)
            return 0
        loop = asyncio.get_running_loop()
        # By the monotonic clock: a step of the other one makes no pulse longer.
        since_edge_seconds = min(max(time.time_ns() - edge_ns, 0) / NS_PER_SECOND, longest_ago_seconds)
        self._timer = loop.call_at(loop.time() - since_edge_seconds + milliseconds / _MS, self._end)
        return edge_ns + milliseconds * _NS_PER_MS

    def forget(self) -> None:
        """Its end is somebody else's matter now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        self._over()


def keep_ms(spec: SignalSpec, asked: Switch) -> int:
    """How long an output will be on; 0: until it is cleared."""
    if asked.keep_ms is not None:
        return asked.keep_ms
    return round(parse_duration(spec.keep, "keep") * _MS) if spec.keep is not None else 0

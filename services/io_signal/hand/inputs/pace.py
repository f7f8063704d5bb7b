"""No more events a second than the mesh can take; of what is too fast the newest is told as soon as may be."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from services.io_signal.hand.inputs.debounce import Timer

T = TypeVar("T")

MOST_PER_SECOND: Final = 500  # of one input: each is an event on the bus, 0.2 ms of a core in all who take it
_BURST: Final = 100  # at once, from a machine that has counted while nobody listened


class Pace(Generic[T]):
    """A bucket of tokens, and one place to wait in."""

    def __init__(
        self,
        passed: Callable[[T], None],
        too_fast: Callable[[], None],
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
        most_per_second: float = MOST_PER_SECOND,
        burst: int = _BURST,
    ) -> None:
        """`too_fast`: called for each that is left out. `now` is in seconds, of the clock of `call_later`."""
        self._passed, self._too_fast, self._now, self._call_later = passed, too_fast, now, call_later
        self._rate, self._burst = most_per_second, burst
        self._tokens, self._at = float(burst), now()
        self._waiting: T | None = None
        self._timer: Timer | None = None

    def take(self, item: T) -> None:
        """Pass it on, now or later, or leave another one out for it."""
        if self._timer is not None:
            if self._waiting is not None:
                self._too_fast()
            self._waiting = item
            return
        self._earn()
        if self._tokens >= 1:
            self._tokens -= 1
            self._passed(item)
            return
        self._waiting = item
        self._timer = self._call_later((1 - self._tokens) / self._rate, self._next)

    def forget(self) -> None:
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        item, self._waiting, self._timer = self._waiting, None, None
        if item is not None:
            self._earn()
            self._tokens = max(0.0, self._tokens - 1)
            self._passed(item)

    def _earn(self) -> None:
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now

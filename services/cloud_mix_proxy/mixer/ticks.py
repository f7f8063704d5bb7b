"""When pictures are due: evenly, by the monotonic clock, whatever became of those before."""

from schemas.units import NS_PER_SECOND


class Ticks:
    """Counts the moments of one rate. A moment that is over before its picture was begun is left out."""

    def __init__(self, fps: float, first_ns: int) -> None:
        """`first_ns`: CLOCK_MONOTONIC of the first one."""
        self._fps, self._first_ns = fps, first_ns
        self._number = -1
        self.late = 0
        """Moments left out."""

    @property
    def period_ns(self) -> int:
        return round(NS_PER_SECOND / self._fps)

    def next(self, now_ns: int) -> int:
        """CLOCK_MONOTONIC of the next one that is still worth a picture: it is not over by a whole period."""
        self._number += 1
        behind = int((now_ns - self._due(self._number)) * self._fps) // NS_PER_SECOND
        if behind > 0:
            self._number += behind
            self.late += behind
        return self._due(self._number)

    def _due(self, number: int) -> int:
        return self._first_ns + round(number * NS_PER_SECOND / self._fps)

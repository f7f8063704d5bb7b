"""How fast a stream comes and is written, over the last two seconds."""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

WINDOW_SECONDS = 2.0  # long enough for a steady figure at 1 picture/s, short enough to follow a change
SAMPLE_SECONDS = 0.25
_SAMPLES = int(WINDOW_SECONDS / SAMPLE_SECONDS) + 2
# Pictures that are no further away than this many usual distances are still coming; the rate is taken between the
# first and the last of them, which is exact, and not over the time until now, which would be one picture short.
_COMING_DISTANCES = 1.5


class Totals(NamedTuple):
    """A stream's counters at one moment, with the moments (monotonic seconds) of the newest."""

    arrived: int
    arrived_at: float
    written: int
    written_at: float
    payload_bytes: int


class RollingRates:
    """Rates from counters that are looked at now and then, so that pictures pay nothing for them.

    `sample` and the figures belong to the event loop; the counters may be another thread's.
    """

    def __init__(self, totals: Callable[[], Totals], clock: Callable[[], float] = time.monotonic) -> None:
        self._totals, self._clock = totals, clock
        self._samples: deque[tuple[float, Totals]] = deque(maxlen=_SAMPLES)
        self.sample()

    def sample(self) -> None:
        """Note the counters; called every `SAMPLE_SECONDS`."""
        self._samples.append((self._clock(), self._totals()))

    @property
    def arrived_fps(self) -> float:
        """Pictures that the source has sent, per second."""
        now, since, before, totals = self._span()
        return _rate(
            totals.arrived - before.arrived, now - since, totals.arrived_at - before.arrived_at, now - totals.arrived_at
        )

    @property
    def written_fps(self) -> float:
        """Pictures written to the ring, per second."""
        now, since, before, totals = self._span()
        return _rate(
            totals.written - before.written, now - since, totals.written_at - before.written_at, now - totals.written_at
        )

    @property
    def bitrate(self) -> int:
        """Bit/s of what the source has sent."""
        now, since, before, totals = self._span()
        seconds = now - since
        return round((totals.payload_bytes - before.payload_bytes) * 8 / seconds) if seconds > 0 else 0

    def _span(self) -> tuple[float, float, Totals, Totals]:
        """Now, the window's start, and the counters at both."""
        now = self._clock()
        samples = tuple(self._samples)
        since, before = next((one for one in samples if now - one[0] <= WINDOW_SECONDS), samples[-1])
        return now, since, before, self._totals()


def _rate(pictures: int, seconds: float, between_seconds: float, ago_seconds: float) -> float:
    """Per second: over the time between the pictures while they keep coming, over the whole window otherwise."""
    if pictures <= 0 or seconds <= 0:
        return 0.0
    if 0 < between_seconds < 2 * WINDOW_SECONDS and ago_seconds <= _COMING_DISTANCES * between_seconds / pictures:
        return round(pictures / between_seconds, 2)
    return round(pictures / seconds, 2)

"""How long to wait before trying again: quick at first, rare in the end, never in step with others."""

import random
import time
from collections.abc import Callable

# (seconds, attempts): a cable pulled for a moment is back in a second; a host that reboots takes a minute;
# after two and a half minutes somebody has to repair it, and one try a minute is enough.
_STEPS = ((1.0, 5), (5.0, 5), (10.0, 10))
_LAST_SECONDS = 60.0
_SCHEDULE = tuple(seconds for seconds, attempts in _STEPS for _ in range(attempts))
_JITTER = 0.2  # share of the delay, either way: a hundred cameras behind one switch must not come back as one
_STABLE_SECONDS = 10.0  # a source that connects and fails at once has not recovered


class Backoff:
    """The delays between attempts: 1 s x5, 5 s x5, 10 s x10, then 60 s, each +-20 %.

    A success that lasts `stable_seconds` starts the schedule again; a shorter one does not.
    Not thread-safe: it belongs to the one who retries.
    """

    def __init__(
        self,
        stable_seconds: float = _STABLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._stable_seconds = stable_seconds
        self._clock = clock
        self._jitter = jitter
        self._succeeded_at: float | None = None
        self.failures = 0
        """Failures in a row."""

    def next_seconds(self) -> float:
        """Note a failure; the seconds to wait before the next attempt."""
        if self._succeeded_at is not None and self._clock() - self._succeeded_at >= self._stable_seconds:
            self.failures = 0
        self._succeeded_at = None
        seconds = _SCHEDULE[self.failures] if self.failures < len(_SCHEDULE) else _LAST_SECONDS
        self.failures += 1
        return seconds * (1.0 + _JITTER * (2.0 * self._jitter() - 1.0))

    def again_seconds(self) -> float:
        """As `next_seconds`, after a failure that the schedule does not count: what failed had answered."""
        self.failures = max(self.failures - 1, 0)
        return self.next_seconds()

    def succeeded(self) -> None:
        """Note that an attempt succeeded just now; the schedule starts again if it lasts."""
        self._succeeded_at = self._clock()

    def reset(self) -> None:
        """Start the schedule again now, for example because the settings were changed."""
        self.failures = 0
        self._succeeded_at = None

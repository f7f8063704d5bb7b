"""How often a rule may act."""

from collections import deque
from typing import Final

_WINDOW_SECONDS: Final = 60


class Limits:
    """Cooldown and rate of one rule. `now`: monotonic seconds."""

    def __init__(self, cooldown_seconds: float, at_most_per_minute: int) -> None:
        self._cooldown_seconds, self._at_most = cooldown_seconds, at_most_per_minute
        self._acted_at = float("-inf")
        self._counts: deque[tuple[int, int]] = deque()
        """(second, how many): a number for each second, not one for each event, of which there may be 1,000 in it."""
        self._recent = 0

    def refuse(self, now: float) -> str:
        """Why an event at this moment is not acted on: `cooldown` or `rate`; empty: it is."""
        if now - self._acted_at < self._cooldown_seconds:
            return "cooldown"
        # A second of the past that lies in the window in part counts in full: never too many, at times one less.
        while self._counts and self._counts[0][0] < int(now) - _WINDOW_SECONDS:
            self._recent -= self._counts.popleft()[1]
        return "rate" if self._recent >= self._at_most else ""

    def act(self, now: float) -> None:
        """It is acted on."""
        self._acted_at = now
        self._recent += 1
        second = int(now)
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1] = (second, self._counts[-1][1] + 1)
        else:
            self._counts.append((second, 1))

"""When something of an input was: its own media clock, held against this machine's."""

from collections import deque
from statistics import median
from typing import Final

_WINDOW: Final = 64
"""Differences that are looked at: one or two seconds. Their middle is not moved by what came late."""
_SLEW: Final = 0.0005
"""How fast the difference follows: half a millisecond a second, which resampled sound hides. Clocks of cameras go
wrong by a tenth of that."""
_TO_BELIEVE: Final = 3
_JUMP_NS: Final = 100_000_000
"""A difference this far away is another beginning, and is taken over at once."""


class Timeline:
    """Turns the times of an input's pictures and sound into CLOCK_REALTIME, evenly.

    Both use the same one, so whatever it finds they stay together.
    """

    def __init__(self) -> None:
        self._differences: deque[int] = deque(maxlen=_WINDOW)
        self._offset_ns: int | None = None
        self._last_ns = 0

    def saw(self, pts_ns: int, captured_ns: int) -> None:
        """One picture or block: its time on the stream's timeline, and when it was captured."""
        difference = captured_ns - pts_ns
        if self._offset_ns is None or self._elsewhere(difference):
            self._differences.clear()
            self._offset_ns, self._last_ns = difference, captured_ns
        self._differences.append(difference)
        passed = max(0, captured_ns - self._last_ns)
        self._last_ns = max(self._last_ns, captured_ns)
        wanted = int(median(self._differences)) - self._offset_ns
        most = int(passed * _SLEW)
        self._offset_ns += max(-most, min(most, wanted))

    def at(self, pts_ns: int) -> int:
        """CLOCK_REALTIME of a time on the stream's timeline."""
        return pts_ns + (self._offset_ns or 0)

    def _elsewhere(self, difference: int) -> bool:
        """It is far away, and so were the last few: it is not one that came late."""
        recent = [*list(self._differences)[-_TO_BELIEVE:], difference]
        return len(recent) > _TO_BELIEVE and all(abs(one - (self._offset_ns or 0)) > _JUMP_NS for one in recent)

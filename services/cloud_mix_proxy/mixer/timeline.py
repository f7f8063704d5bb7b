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
"""A difference this far away may be another beginning."""
_SURELY_NS: Final = 1_000_000_000
"""This far away it is one, and is taken over at once."""
_HELD_UP_NS: Final = 600_000_000
"""What is later by less, a busy machine may have held up: sources catch up half a second in a burst, and then all is as
it was. What stays late for longer is believed. Nothing comes too early by itself."""


class Timeline:
    """Turns the times of an input's pictures and sound into CLOCK_REALTIME, evenly.

    Both use the same one, so whatever it finds they stay together.
    """

    def __init__(self) -> None:
        self._differences: deque[int] = deque(maxlen=_WINDOW)
        self._offset_ns: int | None = None
        self._last_ns = 0
        self._away: list[int] = []
        """When things were captured that came one after the other and far away."""

    def saw(self, pts_ns: int, captured_ns: int) -> None:
        """One picture or block: its time on the stream's timeline, and when it was captured."""
        difference = captured_ns - pts_ns
        if self._offset_ns is None or self._elsewhere(difference, captured_ns):
            self._differences.clear()
            self._away.clear()
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

    def _elsewhere(self, difference: int, captured_ns: int) -> bool:
        """It is far away, and so were the last few: it is not what came late."""
        later_ns = difference - (self._offset_ns or 0)
        if abs(later_ns) <= _JUMP_NS:
            self._away.clear()
            return False
        self._away = [*self._away[:_TO_BELIEVE], captured_ns]
        held_up = 0 < later_ns < _SURELY_NS and captured_ns - self._away[0] < _HELD_UP_NS
        return len(self._away) > _TO_BELIEVE and not held_up

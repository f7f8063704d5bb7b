"""What a session's page has told of its pictures."""

import statistics
from collections import deque
from dataclasses import dataclass, field

_KEPT = 50  # about half a minute of echoes


@dataclass(slots=True)
class LatencyRecord:
    """Times from capture to presentation, the last `_KEPT` of them."""

    last_ms: float | None = None
    source: str = ""
    """What they were measured by: `timecode`, burnt into the picture, or `capture`, which travels beside it."""
    picture_ms: float | None = None
    """From the page's POST to its first picture on screen."""
    _kept: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))

    @property
    def median_ms(self) -> float | None:
        return statistics.median(self._kept) if self._kept else None

    def note(self, latency_ms: float, source: str) -> None:
        if source != self.source:
            self._kept.clear()  # the two do not mean quite the same
        self.source, self.last_ms = source, latency_ms
        self._kept.append(latency_ms)

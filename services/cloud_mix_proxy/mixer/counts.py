"""What has become of a mix's pictures and sound since its process began."""

from collections import deque
from dataclasses import dataclass, field

_LATENESSES = 1_024
"""Of the last pictures: 17 s at 60 pictures/s; a report takes them all out."""
_NANOSECONDS_PER_MS = 1e6


@dataclass
class MixCounts:
    """Counted by the mixing thread, read by the event loop."""

    ring_full: int = 0
    late: int = 0
    overwritten: int = 0
    slow_tiles: int = 0
    lateness_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_LATENESSES))

    def take_lateness_ms(self) -> float:
        """The 99th percentile since it was last asked for."""
        taken = [self.lateness_ns.popleft() for _ in range(len(self.lateness_ns))]
        if not taken:
            return 0.0
        taken.sort()
        return round(taken[min(len(taken) - 1, len(taken) * 99 // 100)] / _NANOSECONDS_PER_MS, 3)

"""Playing at the speed of the media clock: a file, a test pattern, a replay."""

import threading
import time
from collections.abc import Callable

from schemas.units import NS_PER_SECOND

# Later than this is a stall (suspended machine, blocked disk), not jitter: what was missed is not played in a burst.
_STALL_SECONDS = 0.5
# Further ahead than this is a jump of the media clock (edited file, wrapped counter), not a slow source.
_JUMP_SECONDS = 10.0


class Pacer:
    """Maps media time to CLOCK_MONOTONIC; the first media time asked for is due at once.

    Lateness up to `stall_seconds` is caught up, so the average rate is exact. Beyond it, and when media time
    jumps ahead by more than `jump_seconds`, the anchor moves: this media time is due now.
    Not thread-safe: it belongs to the thread that plays.
    """

    def __init__(
        self,
        stall_seconds: float = _STALL_SECONDS,
        jump_seconds: float = _JUMP_SECONDS,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._stall_ns = int(stall_seconds * NS_PER_SECOND)
        self._jump_ns = int(jump_seconds * NS_PER_SECOND)
        self._clock_ns = clock_ns
        self._offset_ns: int | None = None

    def delay_seconds(self, media_ns: int) -> float:
        """Seconds until `media_ns` is due; 0 when it is due or late."""
        now_ns = self._clock_ns()
        if self._offset_ns is None:
            self._offset_ns = now_ns - media_ns
        ahead_ns = media_ns + self._offset_ns - now_ns
        if not -self._stall_ns <= ahead_ns <= self._jump_ns:
            self._offset_ns = now_ns - media_ns
            return 0.0
        return max(ahead_ns, 0) / NS_PER_SECOND

    def wait(self, media_ns: int, stop: threading.Event) -> bool:
        """Wait until `media_ns` is due; False when `stop` was set first. Takes at most `jump_seconds`."""
        delay = self.delay_seconds(media_ns)
        if delay <= 0.0:
            return not stop.is_set()
        return not stop.wait(delay)

    def reset(self) -> None:
        """Forget the anchor: the next media time is due at once. For a source that was opened again."""
        self._offset_ns = None

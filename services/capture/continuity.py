"""Times of a stream that go on, whatever its source does: opened again, paused, or with a clock that steps back."""

import time
from collections.abc import Callable

_MIN_STEP_NS = 11_112  # one tick of video's 90 kHz clock: two pictures in one tick cannot be told apart
PATIENCE_SECONDS = 0.5
"""A sender that was held up sends what it has, faster than it was made; so long that is waited for."""


class Continuity:
    """Moves times so that each track's only grow. All tracks are moved alike, so sound stays with its pictures.

    What is late (its time is already past, for example because the last picture was written again meanwhile) is put
    directly behind; after `patience_seconds` of that the source's clock is taken to have stood still, and all that
    follows is moved. Belongs to one thread at a time.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_seconds, self._clock = patience_seconds, clock
        self._shift_ns = 0
        self._end_ns: int | None = None
        self._last_ns: dict[str, int] = {}
        self._anew = False
        self._late_since: float | None = None

    def anew(self) -> None:
        """The source was opened again: what comes next begins a new count, behind all that was."""
        self._anew, self._late_since = True, None

    def place(self, track: str, time_ns: int, duration_ns: int = 0) -> int:
        """The time to give to what has `time_ns` by the source's count."""
        if self._anew:
            self._anew = False
            self._shift_ns = max(0, (time_ns if self._end_ns is None else self._end_ns) - time_ns)
        placed_ns = time_ns + self._shift_ns
        last_ns = self._last_ns.get(track)
        if last_ns is None or placed_ns > last_ns:
            self._late_since = None
        else:
            placed_ns = last_ns + _MIN_STEP_NS
            now = self._clock()
            self._late_since = now if self._late_since is None else self._late_since
            if now - self._late_since >= self._patience_seconds:
                placed_ns = last_ns + max(duration_ns, _MIN_STEP_NS)
                self._shift_ns = placed_ns - time_ns
                self._late_since = None
        self._last_ns[track] = placed_ns
        self._end_ns = max(self._end_ns or placed_ns, placed_ns + duration_ns)
        return placed_ns

    def follow(self, track: str, after_ns: int) -> int:
        """A time for something that the source did not send, `after_ns` behind the track's last."""
        if (last_ns := self._last_ns.get(track)) is None:
            return self.place(track, time.time_ns())
        placed_ns = self._last_ns[track] = last_ns + max(after_ns, _MIN_STEP_NS)
        self._end_ns = max(self._end_ns or placed_ns, placed_ns)
        return placed_ns

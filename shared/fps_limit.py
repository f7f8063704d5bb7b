"""Leaving pictures out so that no more than so many a second remain, as evenly as they came."""

from schemas.units import NS_PER_SECOND

_SMOOTHING = 8  # the distance of pictures is judged over about so many
_GAP_PERIODS = 2  # beyond, the source has paused or its clock has jumped: begin anew


class FpsLimit:
    """Judges one stream's pictures by their times."""

    def __init__(self, fps: float) -> None:
        self._period_ns = NS_PER_SECOND / fps
        self._due_ns: float | None = None
        self._distance_ns = 0.0
        self._last_ns = 0

    def admit(self, pts_ns: int) -> bool:
        """Whether the picture of this time is one of those that remain."""
        if self._due_ns is None:
            self._due_ns, self._last_ns = pts_ns + self._period_ns, pts_ns
            return True
        distance_ns, self._last_ns = pts_ns - self._last_ns, pts_ns
        if distance_ns <= 0 or pts_ns - self._due_ns > _GAP_PERIODS * max(self._period_ns, self._distance_ns):
            self._due_ns = pts_ns + self._period_ns
            return True
        weight = 1 if not self._distance_ns else _SMOOTHING
        self._distance_ns += (distance_ns - self._distance_ns) / weight
        # Half a distance early: the picture nearest to the due time remains, and jitter of less does no harm.
        if pts_ns < self._due_ns - min(self._distance_ns, self._period_ns) / 2:
            return False
        # A source that is slower than the limit is never early; one that paused does not catch up.
        self._due_ns = max(self._due_ns + self._period_ns, pts_ns + self._period_ns / 2)
        return True

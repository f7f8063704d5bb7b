"""How a source's pictures usually follow one another, so that their absence is noticed."""

_STALL_DISTANCES = 8
MIN_STALL_SECONDS = 1.0  # a reader of a disk or a busy switch holds pictures up for less
# Until so many distances are known, nothing is usual; slower sources than 0.25 pictures/s want `stall_after` given.
_LEARNED_DISTANCES = 4
_UNLEARNED_STALL_SECONDS = 4.0
_WEIGHT = 1 / 32  # of one distance in the mean: a second of video
# A source that came back by itself sooner than it would have been opened again may pause like this once more. It
# gets so much more time than the pause took, and the mean forgets it in a second or two of steady pictures.
_FORGIVEN = 1.25


class Cadence:
    """A robust running mean of the distance between pictures; `note` costs a fraction of a microsecond."""

    def __init__(self) -> None:
        self._usual_seconds = 0.0
        self._known = 0

    def note(self, distance_seconds: float) -> None:
        """A picture came so long after the one before."""
        usual = self._usual_seconds
        if self._known < _LEARNED_DISTANCES:
            self._known += 1
            self._usual_seconds = usual + (distance_seconds - usual) / self._known
            return
        # A gap that was a stall is no new habit, so it counts for no more than what is none.
        self._usual_seconds = usual + (min(distance_seconds, self.stall_seconds) - usual) * _WEIGHT

    def forgive(self, pause_seconds: float) -> None:
        """A stall ended by itself."""
        self._usual_seconds = max(self._usual_seconds, _FORGIVEN * pause_seconds / _STALL_DISTANCES)

    @property
    def stall_seconds(self) -> float:
        """Without a picture for so long, the source has stalled."""
        if self._known < _LEARNED_DISTANCES:
            return _UNLEARNED_STALL_SECONDS
        return max(MIN_STALL_SECONDS, _STALL_DISTANCES * self._usual_seconds)

"""When a mix ends by itself: all its inputs are lost, or its time is over."""

from schemas.errors import Conflict, ErrorInfo, Unavailable
from schemas.mix_resources import MixSpec
from schemas.units import NS_PER_SECOND, parse_duration


class Endings:
    """The rules of one mix, and since when nothing lives of its inputs."""

    def __init__(self) -> None:
        self._lost_seconds: float | None = None
        self._after_seconds: float | None = None
        self._texts = "", ""
        self._lost_since: float | None = None
        self.started_ns = 0
        """CLOCK_REALTIME when it was first seen; 0: not yet."""

    def begin(self, spec: MixSpec, started_ns: int) -> None:
        self.started_ns, self._lost_since = started_ns, None
        self.change(spec)

    def change(self, spec: MixSpec) -> None:
        """The rules of another spec; what has passed counts on."""
        self._texts = spec.end_when_lost or "", spec.end_after or ""
        self._lost_seconds = parse_duration(spec.end_when_lost, "end_when_lost") if spec.end_when_lost else None
        self._after_seconds = parse_duration(spec.end_after, "end_after") if spec.end_after else None

    def reason(self, *, live: bool, now_ns: int, now: float) -> ErrorInfo | None:
        """Why it ends now; None: it does not.

        Args:
            live: of one input at least there are pictures.
            now_ns: CLOCK_REALTIME.
            now: monotonic seconds.
        """
        if live:
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since = now
        lost, after = self._texts
        lost_seconds = now - self._lost_since if self._lost_since is not None else 0.0
        if self._lost_seconds is not None and self._lost_since is not None and lost_seconds >= self._lost_seconds:
            return Unavailable(f"all inputs were lost for {lost}; end_when_lost ends the mix").info
        passed_seconds = (now_ns - self.started_ns) / NS_PER_SECOND if self.started_ns else 0.0
        if self._after_seconds is not None and self.started_ns and passed_seconds >= self._after_seconds:
            return Conflict(f"its time of {after} is over; end_after ends the mix").info
        return None

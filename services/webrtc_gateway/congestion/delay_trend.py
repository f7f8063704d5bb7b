"""Whether a line's queue grows: the trendline of Google's congestion control (draft-ietf-rmcat-gcc-02 section 5).

The queue's delay is smoothed, a line is laid through its last values, and the slope is held against a threshold that
adapts: a line beside others that fill the queue must not starve.
"""

from collections import deque
from dataclasses import dataclass, field

_WINDOW_GROUPS = 20  # as the field's senders have it: two thirds of a second at 30 pictures a second
_SMOOTHING = 0.9
_GAIN = 4.0
_MAX_DELTAS = 60  # a slope counts the more, the more it is founded on
_THRESHOLD_MS, _THRESHOLD_RANGE_MS = 12.5, (6.0, 600.0)
_RISE, _FALL = 0.0087, 0.039  # of the threshold, per millisecond: up slowly, or a slow overuse would never be seen
_OUTLIER_MS = 15.0  # beyond the threshold: a key picture, and no reason to adapt
_MAX_ADAPT_MS = 100.0
_OVERUSE_SECONDS = 0.01


@dataclass(slots=True)
class DelayTrend:
    """Takes one value for each group of packets that left together."""

    overusing: bool = False
    slope: float = 0.0
    """Of the smoothed delay over time: 0.1 means that the queue grows by 100 ms each second."""
    _points: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_WINDOW_GROUPS))
    _smoothed_ms: float = 0.0
    _deltas: int = 0
    _threshold_ms: float = _THRESHOLD_MS
    _adapted_ms: float | None = None
    _over_s: float = 0.0
    _before: float = 0.0
    _last_ms: float | None = None

    def take(self, at_ms: float, delay_ms: float) -> None:
        """The group that arrived at `at_ms` was so long on its way, from any fixed offset on."""
        passed_ms = 0.0 if self._last_ms is None else at_ms - self._last_ms
        if self._last_ms is None:
            self._smoothed_ms = delay_ms
        self._last_ms = at_ms
        self._deltas = min(self._deltas + 1, _MAX_DELTAS)
        self._smoothed_ms = _SMOOTHING * self._smoothed_ms + (1 - _SMOOTHING) * delay_ms
        self._points.append((at_ms, self._smoothed_ms))
        if len(self._points) < _WINDOW_GROUPS:
            return
        self.slope = self._fit()
        trend_ms = self._deltas * self.slope * _GAIN
        if trend_ms > self._threshold_ms:
            self._over_s += passed_ms / 1e3
            if self._over_s > _OVERUSE_SECONDS and self.slope >= self._before:
                self.overusing = True
        else:
            self.overusing, self._over_s = False, 0.0
        self._before = self.slope
        self._adapt(at_ms, abs(trend_ms))

    def _fit(self) -> float:
        points = self._points
        count = len(points)
        mean_at = sum(at for at, _ in points) / count
        mean = sum(value for _, value in points) / count
        spread = sum((at - mean_at) ** 2 for at, _ in points)
        return sum((at - mean_at) * (value - mean) for at, value in points) / spread if spread else 0.0

    def _adapt(self, at_ms: float, size_ms: float) -> None:
        passed_ms = 0.0 if self._adapted_ms is None else min(at_ms - self._adapted_ms, _MAX_ADAPT_MS)
        self._adapted_ms = at_ms
        if size_ms > self._threshold_ms + _OUTLIER_MS:
            return
        factor = _FALL if size_ms < self._threshold_ms else _RISE
        low, high = _THRESHOLD_RANGE_MS
        self._threshold_ms = min(
            max(self._threshold_ms + factor * (size_ms - self._threshold_ms) * passed_ms, low), high
        )

"""Whether a line's queue grows: the trendline of Google's congestion control (draft-ietf-rmcat-gcc-02 section 5).

The queue's delay is smoothed, a line is laid through its last values, and the slope is held against a threshold that
adapts: a line beside others that fill the queue must not starve.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import linear_regression

_WINDOW_GROUPS = 30  # a third of a second of pictures and of sound; of pictures alone a second
_MIN_GROUPS = 10
_SMOOTHING = 0.9
_GAIN = 4.0
_MAX_DELTAS = 60  # a slope counts the more, the more it is founded on
_THRESHOLD_MS, _THRESHOLD_RANGE_MS = 12.5, (6.0, 600.0)
_RISE, _FALL = 0.0087, 0.039  # of the threshold, per millisecond: up slowly, or a slow overuse would never be seen
_OUTLIER_MS = 15.0  # beyond the threshold: a key picture, and no reason to adapt
_MAX_ADAPT_MS = 250.0  # of one judgement


@dataclass(slots=True)
class DelayTrend:
    """Takes one value for each group of packets that left together, and is judged now and then."""

    overusing: bool = False
    slope: float = 0.0
    """Of the smoothed delay over time: 0.1 means that the queue grows by 100 ms each second."""
    _points: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_WINDOW_GROUPS))
    _smoothed_ms: float = 0.0
    _deltas: int = 0
    _threshold_ms: float = _THRESHOLD_MS
    _judged_ms: float | None = None

    def take(self, at_ms: float, delay_ms: float) -> None:
        """The group that arrived at `at_ms` was so long on its way, from any fixed offset on."""
        if not self._points:
            self._smoothed_ms = delay_ms
        self._deltas = min(self._deltas + 1, _MAX_DELTAS)
        self._smoothed_ms = _SMOOTHING * self._smoothed_ms + (1 - _SMOOTHING) * delay_ms
        self._points.append((at_ms, self._smoothed_ms))

    def judge(self) -> None:
        """Say whether the queue grows, by what was taken since and shortly before."""
        if len(self._points) < _MIN_GROUPS:
            return
        self.slope = self._fit()
        trend_ms = self._deltas * self.slope * _GAIN
        self.overusing = trend_ms > self._threshold_ms
        self._adapt(self._points[-1][0], abs(trend_ms))

    def _fit(self) -> float:
        times, values = zip(*self._points, strict=True)
        if times[0] == times[-1]:
            return 0.0
        return linear_regression(times, values).slope

    def _adapt(self, at_ms: float, size_ms: float) -> None:
        passed_ms = 0.0 if self._judged_ms is None else min(at_ms - self._judged_ms, _MAX_ADAPT_MS)
        self._judged_ms = at_ms
        if size_ms > self._threshold_ms + _OUTLIER_MS:
            return
        factor = _FALL if size_ms < self._threshold_ms else _RISE
        low, high = _THRESHOLD_RANGE_MS
        self._threshold_ms = min(
            max(self._threshold_ms + factor * (size_ms - self._threshold_ms) * passed_ms, low), high
        )

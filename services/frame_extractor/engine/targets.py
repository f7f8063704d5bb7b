"""Which moments a sampling means, and which picture is shown at each.

A picture is shown from its time on until the next one's: of a moment it is the one with the greatest time up to it, of
several with the same time the last that was coded, and before the first picture the first. Times count from the first
picture on. The end of a video is no moment of it any more, but `uniform` and `timestamps` get the last picture for it.
"""

from collections.abc import Iterator
from itertools import count, islice, takewhile
from typing import NamedTuple

import numpy as np

from schemas.sampling import Sampling
from services.frame_extractor.engine.index import Index
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.reservoir import choose

_MIDDLE_FPS = 1.0
# Sums of steps are off by less; half of a tick of no time base in use is as short.
_SLACK_S = 1e-6
_END_SLACK_S = 1e-9  # an end that is a multiple of the step belongs to it


class Moment(NamedTuple):
    """One picture that is to be taken."""

    number: int
    """From 0, in the order of time."""
    timestamp_s: float
    """What was asked for."""
    picture: int
    """Of the video's pictures, in the order of time."""


def moments(sampling: Sampling, index: Index, limits: Limits) -> list[Moment]:
    """Raises:
    VideoError: "parameter", more than the limit.
    """
    first = Times(index)
    end_s = index.duration_s if sampling.end_s is None else min(sampling.end_s, index.duration_s)
    if sampling.mode == "frames":
        pairs = _every_nth(sampling, index, first, end_s)
    elif sampling.mode == "uniform" and not index.duration_told and sampling.end_s is None:
        begin = first.at_or_after(sampling.start_s)
        chosen = choose(range(begin, len(index.picture_pts)), sampling.count or 0, sampling.seed)
        pairs = [(first.seconds(picture), picture) for picture in chosen]
    else:
        most = limits.pictures + 1 if sampling.max_frames is None else min(sampling.max_frames, limits.pictures + 1)
        times = list(islice(_times(sampling, index.duration_s, end_s), most))
        # Of a video whose length nobody knew, the first picture from each moment on.
        later = not index.duration_told and sampling.mode in ("interval", "fps")
        pairs = [(at, first.at_or_after(at) if later else first.shown_at(at)) for at in times]
        pairs = [(at, picture) for at, picture in pairs if picture < len(index.picture_pts)]
    if sampling.max_frames is not None:
        pairs = pairs[: sampling.max_frames]
    limits.check_pictures(len(pairs))
    return [Moment(number, at, picture) for number, (at, picture) in enumerate(pairs)]


class Times:
    """Finds pictures by their time."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._start = int(index.picture_pts[0])

    def seconds(self, picture: int) -> float:
        return self._index.seconds(int(self._index.picture_pts[picture]))

    def shown_at(self, at_s: float) -> int:
        ticks = self._start + int((at_s + _SLACK_S) / self._index.time_base)
        return max(0, int(np.searchsorted(self._index.picture_pts, ticks, "right")) - 1)

    def at_or_after(self, at_s: float) -> int:
        """One beyond the last picture where there is none."""
        before = self._start + (at_s - _SLACK_S) / float(self._index.time_base)
        return int(np.searchsorted(self._index.picture_pts, before, "left"))


def _times(sampling: Sampling, duration_s: float, end_s: float) -> Iterator[float]:
    start_s = sampling.start_s
    if start_s >= duration_s and start_s > 0:
        return iter(())
    if sampling.mode == "middle":
        fps = sampling.fps or _MIDDLE_FPS
        times = takewhile(lambda at: at < end_s, (start_s + (step + 0.5) / fps for step in count()))
        one = next(times, None)
        if one is None:
            return iter(((start_s + end_s) / 2,))
        return _with(one, times)
    if sampling.mode == "uniform":
        points = sampling.count or 1
        if points == 1 or end_s <= start_s:
            return iter((start_s,))
        return (start_s + (end_s - start_s) * step / (points - 1) for step in range(points))
    if sampling.mode == "timestamps":
        return (at for at in sorted(sampling.timestamps_s) if start_s <= at <= end_s + _END_SLACK_S)
    step_s = 1 / (sampling.fps or 1) if sampling.mode == "fps" else sampling.interval_s or 1
    steps = (start_s + step * step_s for step in count())
    return takewhile(lambda at: at <= end_s + _END_SLACK_S and (at < duration_s - _SLACK_S or at == 0), steps)


def _with(one: float, more: Iterator[float]) -> Iterator[float]:
    yield one
    yield from more


def _every_nth(sampling: Sampling, index: Index, times: Times, end_s: float) -> list[tuple[float, int]]:
    first = times.at_or_after(sampling.start_s)
    until = times.shown_at(end_s) + 1 if sampling.end_s is not None else len(index.picture_pts)
    step = sampling.interval_frames or 1
    return [(times.seconds(picture), picture) for picture in range(first, until, step)]

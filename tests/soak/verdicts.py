"""What may grow during a soak, and how much: a slope for each thing that was looked at, and its verdict."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tests.soak.looks import Look

WARM_UP_SHARE = 0.2  # of a soak: imports, first encoders, histories and recordings that are not yet as long as kept
_HOUR_SECONDS = 3600.0
_FEWEST_POINTS = 3  # a line through two says nothing


class Measure(NamedTuple):
    """One thing that is looked at. Growth is held against `noise + per_hour * hours`."""

    unit: str
    per_hour: float
    """What may be added in an hour, in the median."""
    noise: float
    """What a run of any length may end away from where it began."""
    why: str
    both_ways: bool = False
    """Shrinking is as wrong as growing."""
    most: float = math.inf
    """The median may not be more, whatever it was before."""


MEASURES = {
    "memory": Measure("MiB", 8, 8, "arenas of allocators come and go; 8 MiB an hour are 1.3 GiB in a week"),
    "descriptors": Measure("", 2, 4, "a viewer or a file is just open at a look"),
    "threads": Measure("", 2, 4, "pools grow to their size; a stream that comes and goes has some"),
    "tasks": Measure("", 2, 6, "a viewer that joins has several"),
    "latency": Measure("ms", 5, 10, "of each stage; other work on the machine comes and goes"),
    "sound": Measure("ms", 10, 15, "later than its picture; a block of AAC has 21 ms", both_ways=True, most=80),
    "shared memory": Measure("MiB", 2, 12, "rings of a stream that is just there"),
    "disk": Measure("MiB", 8, 24, "a segment of each recording, until the oldest is taken away"),
    "bus store": Measure("MiB", 4, 2, "events until their bound, blocks that are not yet written anew"),
    "bus consumers": Measure("", 2, 12, "a reader that is just there; a viewer's page has some"),
    "bus records": Measure("", 10, 16, "the revisions that a change can be taken back to, and marks of what is gone"),
    "bus jobs": Measure("", 400, 12, "those of each turn are remembered for three days, with their pictures and usage"),
    "bus events": Measure("", 12_000, 100, "some thirty of each turn; the store's bound is ten thousands"),
}


class Verdict(NamedTuple):
    """Of one thing over one soak."""

    measure: str
    of: str
    unit: str
    first: float
    """The line's, after the warm-up."""
    last: float
    per_hour: float
    growth: float
    """Over the time after the warm-up."""
    allowed: float
    median: float
    points: tuple[tuple[float, float], ...]
    """(seconds, value), the warm-up with them."""
    good: bool


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(per second, at second 0): the median of the slopes of all pairs, which a look at a bad moment does not bend."""
    at = np.array([x for x, _ in points])
    value = np.array([y for _, y in points])
    first, second = np.triu_indices(len(points), 1)
    slopes = (value[second] - value[first]) / (at[second] - at[first])
    found = float(np.median(slopes))
    return found, float(np.median(value - found * at))


def judge(looks: Sequence[Look], slowness: float = 1.0) -> list[Verdict]:
    """One of each thing that was seen at several looks after the warm-up; what was not is left out.

    Args:
        slowness: of the machine, see tests.support.pace; limits of times grow with it.
    """
    found = []
    begin = looks[-1].at_seconds * WARM_UP_SHARE
    for measure, of in sorted({key for look in looks for key in look.values}):
        points = [(look.at_seconds, look.values[measure, of]) for look in looks if (measure, of) in look.values]
        settled = [point for point in points if point[0] >= begin]
        if len(settled) >= _FEWEST_POINTS:
            found.append(_verdict(measure, of, points, settled, slowness))
    return found


def _verdict(
    measure: str, of: str, points: list[tuple[float, float]], settled: list[tuple[float, float]], slowness: float
) -> Verdict:
    limit = MEASURES[measure]
    per_second, base = slope(settled)
    seconds = settled[-1][0] - settled[0][0]
    growth = per_second * seconds
    factor = slowness if limit.unit == "ms" else 1.0
    allowed = (limit.noise + limit.per_hour * seconds / _HOUR_SECONDS) * factor
    median = float(np.median([value for _, value in settled]))
    return Verdict(
        measure=measure,
        of=of,
        unit=limit.unit,
        first=base + per_second * settled[0][0],
        last=base + per_second * settled[-1][0],
        per_hour=per_second * _HOUR_SECONDS,
        growth=growth,
        allowed=allowed,
        median=median,
        points=tuple(points),
        good=(abs(growth) if limit.both_ways else growth) <= allowed
        and (abs(median) if limit.both_ways else median) <= limit.most * factor,
    )


def worst(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Of each measure what came nearest to its limit, or went furthest beyond."""
    found: dict[str, Verdict] = {}
    for one in verdicts:
        before = found.get(one.measure)
        if before is None or one.growth / one.allowed > before.growth / before.allowed:
            found[one.measure] = one
    return list(found.values())

"""The moments that each way of sampling means."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from schemas.sampling import Sampling
from services.frame_extractor.engine.errors import VideoError
from services.frame_extractor.engine.index import Index
from services.frame_extractor.engine.limits import Limits
from services.frame_extractor.engine.reservoir import choose
from services.frame_extractor.engine.targets import moments


def index(pictures: int, rate: int = 25, told: bool = True, start: int = 0) -> Index:
    times = np.arange(start, start + pictures, dtype=np.int64)
    return Index(
        time_base=Fraction(1, rate),
        pts=times,
        shift=np.zeros(pictures, np.int64),
        dts=times,
        size=np.full(pictures, 1000, np.int64),
        entry=np.arange(pictures) % 50 == 0,
        disposable=np.zeros(pictures, np.bool_),
        careful=False,
        numbered=False,
        picture_packet=np.arange(pictures, dtype=np.int64),
        picture_pts=times,
        duration_s=pictures / rate,
        duration_told=told,
        reorder_depth=0,
        width=64,
        height=48,
        codec="h264",
        note="",
    )


def times(sampling: Sampling, pictures: int, **more: object) -> list[float]:
    chosen = moments(sampling, index(pictures, **more), Limits())  # type: ignore[arg-type]
    assert [moment.number for moment in chosen] == list(range(len(chosen)))
    return [round(moment.timestamp_s, 6) for moment in chosen]


@pytest.mark.parametrize(
    ("sampling", "pictures", "expected"),
    [
        (Sampling(), 100, [0.5, 1.5, 2.5, 3.5]),
        (Sampling(), 88, [0.5, 1.5, 2.5, 3.5]),  # 3.52 s
        (Sampling(), 87, [0.5, 1.5, 2.5]),  # 3.48 s
        (Sampling(), 10, [0.2]),  # shorter than half a step: its middle
        (Sampling(fps=10), 10, [0.05, 0.15, 0.25, 0.35]),
        (Sampling(fps=0.1), 100, [2.0]),
        (Sampling(start_s=1, end_s=3), 100, [1.5, 2.5]),
        (Sampling(max_frames=2), 100, [0.5, 1.5]),
        (Sampling(start_s=9), 100, []),
        (Sampling(mode="uniform", count=1, start_s=1), 100, [1.0]),
        (Sampling(mode="uniform", count=5), 100, [0.0, 1.0, 2.0, 3.0, 4.0]),
        (Sampling(mode="uniform", count=3, start_s=1, end_s=2), 100, [1.0, 1.5, 2.0]),
        (Sampling(mode="uniform", count=3, start_s=2, end_s=2), 100, [2.0]),
        (Sampling(mode="interval", interval_s=1), 100, [0.0, 1.0, 2.0, 3.0]),
        (Sampling(mode="interval", interval_s=0.1, start_s=0.1, end_s=0.3), 100, [0.1, 0.2, 0.3]),
        (Sampling(mode="interval", interval_s=99), 100, [0.0]),
        (Sampling(mode="fps", fps=2, end_s=1), 100, [0.0, 0.5, 1.0]),
        (Sampling(mode="timestamps", timestamps_s=(3, 1, 1, 9, 0.5), start_s=1), 100, [1.0, 1.0, 3.0]),
        (Sampling(mode="frames", interval_frames=40), 100, [0.0, 1.6, 3.2]),
        (Sampling(mode="frames", interval_frames=10, start_s=1, end_s=1.5), 100, [1.0, 1.4]),
        (Sampling(mode="frames", interval_frames=10, max_frames=1), 100, [0.0]),
    ],
)
def test_moments(sampling: Sampling, pictures: int, expected: list[float]) -> None:
    assert times(sampling, pictures) == expected
    assert times(sampling, pictures, start=12_345) == expected


def test_a_picture_is_shown_until_the_next_and_the_last_to_the_end() -> None:
    at = (0.0, 0.039, 0.04, 0.0799, 0.08, 3.99, 4.0)
    chosen = moments(Sampling(mode="timestamps", timestamps_s=at), index(100), Limits())
    assert [moment.picture for moment in chosen] == [0, 0, 1, 1, 2, 99, 99]


def test_of_pictures_with_the_same_time_the_last_is_shown() -> None:
    video = index(4)
    video.picture_pts[:] = (0, 1, 1, 2)
    chosen = moments(Sampling(mode="timestamps", timestamps_s=(0.04, 0.05)), video, Limits())
    assert [moment.picture for moment in chosen] == [2, 2]


def test_steps_of_thirds_do_not_drift() -> None:
    chosen = moments(Sampling(mode="fps", fps=3), index(3000, rate=30), Limits())
    assert [moment.picture for moment in chosen] == list(range(0, 3000, 10))


def test_more_than_the_limit_is_refused_before_it_is_counted_out() -> None:
    with pytest.raises(VideoError) as refused:
        moments(Sampling(mode="interval", interval_s=1e-9), index(100), Limits(pictures=50))
    assert refused.value.kind == "parameter"
    assert "max_frames" in refused.value.message
    few = moments(Sampling(mode="interval", interval_s=1e-9, max_frames=50), index(100), Limits(pictures=50))
    assert len(few) == 50


def test_a_reservoir_is_fair_and_always_the_same() -> None:
    assert choose(range(3), 5, 42) == [0, 1, 2]
    assert choose(range(1000), 10, 42) == choose(iter(range(1000)), 10, 42) != choose(range(1000), 10, 43)
    counts = Counter(item for seed in range(2000) for item in choose(range(20), 5, seed))
    assert set(counts) == set(range(20))
    assert max(counts.values()) < 1.25 * 500  # each is drawn 500 times of 2000
    assert min(counts.values()) > 0.75 * 500

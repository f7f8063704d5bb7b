"""Which pictures remain of a stream that has more than are wanted."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fps_limit import FpsLimit

pytestmark = pytest.mark.unit

_NS = 1_000_000_000


def kept(source_fps: float, fps: float, pictures: int, jitter_ns: int = 0) -> list[int]:
    """Numbers of the pictures that remain."""
    chance = random.Random(1)
    limit = FpsLimit(fps)
    times = [round(number * _NS / source_fps) + chance.randint(-jitter_ns, jitter_ns) for number in range(pictures)]
    return [number for number, pts_ns in enumerate(times) if limit.admit(pts_ns)]


def test_every_third() -> None:
    assert kept(30, 10, 91) == list(range(0, 91, 3))


def test_as_even_as_can_be() -> None:
    numbers = kept(25, 10, 251)
    assert {later - earlier for earlier, later in pairwise(numbers)} == {2, 3}
    assert abs(len(numbers) - 101) <= 1


@pytest.mark.parametrize("source_fps", [30, 29.97, 25])
def test_a_source_that_is_not_faster_keeps_every_picture(source_fps: float) -> None:
    assert kept(source_fps, 30, 300, jitter_ns=8_000_000) == list(range(300))


def test_jitter_does_not_make_it_uneven() -> None:
    assert kept(30, 10, 300, jitter_ns=7_000_000) == list(range(0, 300, 3))


@given(st.floats(1, 240), st.floats(1, 240))
def test_the_rate_is_met(source_fps: float, fps: float) -> None:
    seconds = 40
    numbers = kept(source_fps, fps, int(source_fps * seconds))
    assert len(numbers) == pytest.approx(min(source_fps, fps) * seconds, rel=0.03, abs=2)
    if fps < source_fps:
        steps = {later - earlier for earlier, later in pairwise(numbers[3:])}
        assert max(steps) - min(steps) <= 1, "pictures are bunched"


def test_a_clock_that_jumps_begins_anew() -> None:
    limit = FpsLimit(10)
    assert [limit.admit(number * _NS // 30) for number in range(4)] == [True, False, False, True]
    assert [limit.admit(-5 * _NS + number * _NS // 30) for number in range(4)] == [True, False, False, True]
    assert [limit.admit(900 * _NS + number * _NS // 30) for number in range(4)] == [True, False, False, True]

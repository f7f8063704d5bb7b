"""Media time on the wall clock."""

import threading
import time

import pytest

from shared.media.pacing import Pacer

pytestmark = pytest.mark.unit

MS = 1_000_000
SECOND = 1_000_000_000


class Clock:
    now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_media_time_runs_with_the_clock(clock: Clock) -> None:
    pacer = Pacer(clock_ns=clock)
    assert pacer.delay_seconds(77 * SECOND) == 0.0
    assert pacer.delay_seconds(77 * SECOND + 40 * MS) == 0.04
    clock.now += 30 * MS
    assert pacer.delay_seconds(77 * SECOND + 40 * MS) == pytest.approx(0.01)


def test_a_short_delay_is_caught_up(clock: Clock) -> None:
    pacer = Pacer(clock_ns=clock)
    pacer.delay_seconds(0)
    clock.now += 450 * MS
    assert [pacer.delay_seconds(n * 100 * MS) for n in (1, 2, 3, 4)] == [0.0] * 4
    assert pacer.delay_seconds(500 * MS) == pytest.approx(0.05)


def test_a_stall_is_not_played_as_a_burst(clock: Clock) -> None:
    pacer = Pacer(clock_ns=clock)
    pacer.delay_seconds(0)
    clock.now += 3 * SECOND
    assert pacer.delay_seconds(100 * MS) == 0.0
    assert pacer.delay_seconds(200 * MS) == pytest.approx(0.1)  # at its own pace again


@pytest.mark.parametrize("jump_ns", [3_600 * SECOND, -3_600 * SECOND])
def test_a_jump_of_the_media_clock_moves_the_anchor(clock: Clock, jump_ns: int) -> None:
    pacer = Pacer(clock_ns=clock)
    pacer.delay_seconds(0)
    assert pacer.delay_seconds(jump_ns) == 0.0
    assert pacer.delay_seconds(jump_ns + 40 * MS) == pytest.approx(0.04)


def test_reset_plays_at_once(clock: Clock) -> None:
    pacer = Pacer(clock_ns=clock)
    pacer.delay_seconds(0)
    pacer.reset()
    assert pacer.delay_seconds(2 * SECOND) == 0.0


def test_the_rate_is_exact() -> None:
    pacer, stop = Pacer(), threading.Event()
    started = time.monotonic()
    assert all(pacer.wait(n * 5 * MS, stop) for n in range(41))
    assert 0.2 <= time.monotonic() - started < 0.35


def test_stop_ends_the_wait() -> None:
    pacer, stop = Pacer(), threading.Event()
    assert pacer.wait(0, stop)
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    started = time.monotonic()
    assert not pacer.wait(5 * SECOND, stop)
    assert time.monotonic() - started < 2
    timer.join(1)
    assert not pacer.wait(0, stop)

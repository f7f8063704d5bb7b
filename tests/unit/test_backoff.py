"""The schedule of retries."""

import pytest

from shared.backoff import Backoff

pytestmark = pytest.mark.unit


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_schedule() -> None:
    backoff = Backoff(jitter=lambda: 0.5)
    assert [backoff.next_seconds() for _ in range(22)] == [1.0] * 5 + [5.0] * 5 + [10.0] * 10 + [60.0] * 2


def test_jitter_stays_within_a_fifth_and_differs() -> None:
    delays = [Backoff().next_seconds() for _ in range(200)]
    assert 0.8 <= min(delays) < 0.9
    assert 1.1 < max(delays) <= 1.2


def test_a_success_that_lasts_starts_again() -> None:
    clock = Clock()
    backoff = Backoff(stable_seconds=10, clock=clock, jitter=lambda: 0.5)
    for _ in range(7):
        backoff.next_seconds()
    backoff.succeeded()
    clock.seconds += 10
    assert backoff.next_seconds() == 1.0
    assert backoff.failures == 1


def test_a_short_success_goes_on_where_it_was() -> None:
    clock = Clock()
    backoff = Backoff(stable_seconds=10, clock=clock, jitter=lambda: 0.5)
    for _ in range(5):
        backoff.next_seconds()
    backoff.succeeded()
    clock.seconds += 9.9
    assert backoff.next_seconds() == 5.0
    clock.seconds += 3_600  # time since a failure is no success
    assert backoff.next_seconds() == 5.0


def test_reset() -> None:
    backoff = Backoff(jitter=lambda: 0.5)
    for _ in range(30):
        backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() == 1.0


def test_what_had_answered_is_not_counted() -> None:
    backoff = Backoff(jitter=lambda: 0.5)
    assert [backoff.again_seconds() for _ in range(30)] == [1.0] * 30
    for _ in range(6):
        backoff.next_seconds()
    assert backoff.again_seconds() == 5.0
    assert backoff.failures == 7

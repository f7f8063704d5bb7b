"""A camera's clock is believed when it agrees with ours for a while, and never when it cannot be right."""

import pytest

from services.capture.sources.sender_clock import SenderClock

pytestmark = pytest.mark.unit

_MS, _SECOND = 1_000_000, 1_000_000_000
_START_NS = 1_700_000_000 * _SECOND


def _believed(ages_ms: list[float], step_ms: int = 40) -> list[bool]:
    clock = SenderClock()
    arrivals = [_START_NS + number * step_ms * _MS for number in range(len(ages_ms))]
    return [clock.believe(at - round(age * _MS), at) for at, age in zip(arrivals, ages_ms, strict=True)]


def test_a_camera_set_by_ntp_is_believed_after_two_seconds() -> None:
    believed = _believed([120.0] * 100)
    assert believed.index(True) == 50
    assert all(believed[50:])


@pytest.mark.parametrize("age_ms", [-3_600_000, -25, 1_001, 5_000, 9_999, 86_400_000])
def test_a_clock_that_is_not_set_is_not(age_ms: float) -> None:
    assert not any(_believed([age_ms] * 200))


def test_a_trusted_camera_may_be_late_but_not_step() -> None:
    believed = _believed([100.0] * 60 + [4_000.0] * 10 + [-60_000.0] + [100.0] * 49)
    assert all(believed[50:70]), "a bad network does not make a set clock wrong"
    assert not any(believed[70:]), "a clock that was put ahead must earn its trust again"

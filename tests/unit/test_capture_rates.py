"""Rates of a stream, from counters that are looked at now and then."""

import pytest

from services.capture.rates import SAMPLE_SECONDS, RollingRates, Totals

pytestmark = pytest.mark.unit


class Stream:
    """Pictures of 1000 bytes at a steady distance, by a clock that the test turns."""

    def __init__(self, fps: float) -> None:
        self.now = 100.0
        self.distance = 1 / fps
        self.arrived, self.arrived_at = 0, 0.0
        self.rates = RollingRates(lambda: Totals(self.arrived, self.arrived_at, 0, 0.0, 1000 * self.arrived), self.time)

    def time(self) -> float:
        return self.now

    def play(self, seconds: float, *, coming: bool = True) -> None:
        end = self.now + seconds
        due = self.now + self.distance
        look = self.now + SAMPLE_SECONDS
        while min(due, look) <= end:
            self.now = min(due, look)
            if self.now == due:
                due += self.distance
                if coming:
                    self.arrived, self.arrived_at = self.arrived + 1, self.now
            if self.now == look:
                look += SAMPLE_SECONDS
                self.rates.sample()
        self.now = end


@pytest.mark.parametrize("fps", [1, 12.5, 29.97, 120])
def test_a_steady_stream_has_its_exact_rate(fps: float) -> None:
    stream = Stream(fps)
    stream.play(10.3)
    assert stream.rates.arrived_fps == pytest.approx(fps, rel=0.001)
    assert stream.rates.bitrate == pytest.approx(fps * 8000, abs=8000)
    assert stream.rates.written_fps == 0


def test_a_stream_that_ends_is_at_zero_two_seconds_later() -> None:
    stream = Stream(25)
    stream.play(5)
    stream.play(1, coming=False)
    assert 10 < stream.rates.arrived_fps < 15, "half of the window was without"
    stream.play(1.3, coming=False)
    assert stream.rates.arrived_fps == 0
    assert stream.rates.bitrate == 0


def test_nothing_yet() -> None:
    assert Stream(25).rates.arrived_fps == 0

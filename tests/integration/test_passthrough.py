"""Cameras that nobody looks at cost little, each the same, undecoded; `tests.bench.passthrough` in short."""

from pathlib import Path

import pytest

from tests.bench.passthrough import GOAL_CORE_PERCENT, measure

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

_SECONDS = 3.0
_BUSY_MACHINE = 4  # times what the benchmark wants: other tests take caches and clock speed away


@pytest.mark.long
def test_four_cameras_beside_one(tmp_path: Path) -> None:
    one, four = measure((1, 4), _SECONDS, tmp_path)
    assert one.packets_per_second == pytest.approx(25, rel=0.2)
    assert four.packets_per_second == pytest.approx(100, rel=0.2)
    assert (one.frames_written, four.frames_written) == (0, 0)
    assert four.threads - one.threads <= 3, "one thread for each source"
    assert four.resident_bytes - one.resident_bytes < 3 * (16 << 20)
    assert four.core_percent - one.core_percent < 3 * GOAL_CORE_PERCENT * _BUSY_MACHINE

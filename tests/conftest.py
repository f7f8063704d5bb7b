"""What every test shares: programs that are not there skip the tests that need them, and CI has them all."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.media.scheduling import real_time_threads

_PROGRAMS = {"browser": "chromium", "firefox": "firefox-esr"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by marker, and give every test the marker of its folder."""
    for item in items:
        folder = Path(item.path).parent.name
        if folder in ("unit", "integration", "chaos", "bench"):
            item.add_marker(getattr(pytest.mark, folder))
        for marker, program in _PROGRAMS.items():
            if item.get_closest_marker(marker) and not shutil.which(program) and not os.environ.get("CI"):
                item.add_marker(pytest.mark.skip(reason=f"{program} is not installed; see ops/test-programs.sh"))


@pytest.fixture(autouse=True)
def no_real_time_threads() -> Iterator[None]:
    """An encoder opened without `usual_scheduling` takes the machine from every other test."""
    before = real_time_threads()
    yield
    assert not real_time_threads() - before, "open the encoder within shared.media.scheduling.usual_scheduling"

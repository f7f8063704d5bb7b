"""What every test shares: programs that are not there skip the tests that need them, and CI has them all."""

import os
import shutil
from pathlib import Path

import pytest

_PROGRAMS = {"browser": "chromium"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by marker, and give every test the marker of its folder."""
    for item in items:
        folder = Path(item.path).parent.name
        if folder in ("unit", "integration", "chaos", "bench"):
            item.add_marker(getattr(pytest.mark, folder))
        for marker, program in _PROGRAMS.items():
            if item.get_closest_marker(marker) and not shutil.which(program) and not os.environ.get("CI"):
                item.add_marker(pytest.mark.skip(reason=f"{program} is not installed; see ops/test-programs.sh"))

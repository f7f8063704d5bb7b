"""The short form of the full load: one trouble of each family, once, and every rule kept.

The long form is `python -m tests.chaos.full_load`, part of `make chaos`.
"""

import os
import shutil

import pytest

from tests.chaos.full_load.__main__ import SEED, hold_out
from tests.chaos.full_load.disturbances import deck

pytestmark = [
    pytest.mark.alone,
    pytest.mark.chaos,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="file systems of its own are mounted"),
    pytest.mark.skipif(
        not (shutil.which("gcc") and shutil.which("nginx")) and not os.environ.get("CI"),
        reason="needs gcc and nginx; see ops/test-programs.sh",
    ),
]


def test_one_trouble_of_each_family() -> None:
    told = hold_out(0, SEED, deck(short=True), rounds=1, browser=False, calm=False)
    assert not told["wrong"]
    assert told["disturbances"] == len(deck(short=True))
    assert told["whole_pictures"] > 0
    assert told["jobs"] > 0

"""The short form of `make soak`: seconds are too few for slopes, and enough for what looks, counts and reports."""

import json
from pathlib import Path

import pytest

from tests.soak import report
from tests.soak.__main__ import soak
from tests.soak.load import SHORT
from tests.soak.verdicts import MEASURES

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.timeout(240)]

_SECONDS = 9.0  # two turns, after the warm-up three looks of those that cost more
_NOT_IN_SECONDS = {"latency"}  # drift: a neighbour that begins to work is one
_LOOK_SECONDS, _THOROUGH_SECONDS = 0.7, 2.0
_SELDOM = {"sound"}  # a recording that is finished and shows enough of the clip: not each few seconds on a slow machine


def test_a_short_soak_is_good_and_measures_everything(tmp_path: Path) -> None:
    found = soak(_SECONDS, SHORT, _LOOK_SECONDS, _THOROUGH_SECONDS)
    report.write(found, tmp_path)
    assert found["failed_turns"] == []
    assert found["restarts"] == []
    assert found["turns"] >= 1
    assert found["fewest_packets_per_second"] > 0
    bad = [one for one in found["verdicts"] if not one["good"] and one["measure"] not in _NOT_IN_SECONDS]
    assert bad == [], report.markdown(found)
    assert set(found["not_measured"]) <= _SELDOM
    assert {one["measure"] for one in found["verdicts"]} >= MEASURES.keys() - _SELDOM
    assert json.loads((tmp_path / "soak.json").read_text()) == found
    services = {one["of"] for one in found["verdicts"] if one["measure"] == "tasks"}
    assert len(services) == 7, services

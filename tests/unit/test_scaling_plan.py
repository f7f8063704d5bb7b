"""The scaling plan says what its results and formulas say."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from ops import scaling, tables
from ops import scaling_plan as plan

PLAN = Path(scaling.__file__).with_name("SCALING.md")


def test_the_tables_are_of_these_results() -> None:
    text = PLAN.read_text()
    assert tables.refresh(text, scaling.TABLES) == text, "run `python -m ops.generate`"
    for name in scaling.TABLES:
        assert f"<!-- generated:{name} -->" in text, "a table that nobody sees"


def test_other_results_give_other_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = plan.result

    def slower(name: str) -> Any:
        found = usual(name)
        if name == "egress":
            found["us_per_packet_medians"]["framemesh, no GSO"]["32"] *= 10
        return found

    before = scaling.hosts()
    monkeypatch.setattr(plan, "result", slower)
    assert scaling.hosts() != before
    cpu, line = plan.gateways(plan.Measured())
    assert cpu > line, "then CPU bounds a gateway"


def test_every_measured_number_is_there_and_sane() -> None:
    m = plan.Measured()
    for name, value in vars(m).items():
        if isinstance(value, float | int):
            assert math.isfinite(value), name
            assert value > 0, name
    assert m.nats_in_us < 1_000
    assert m.changes["3"]["update_p50_ms"] > m.changes["1"]["update_p50_ms"], "three copies cost more than one"


def test_streams_by_chance() -> None:
    """Against counting: a viewer takes any of the streams, a gateway all that its viewers take."""
    count, draw = 67, random.Random(1)
    viewers = plan.VIEWERS // count
    seen = [len({draw.randrange(plan.STREAMS_WATCHED) for _ in range(viewers)}) for _ in range(50)]
    assert plan.streams_per_gateway(False, count) == pytest.approx(sum(seen) / len(seen), rel=0.02)
    assert plan.streams_per_gateway(True, count) * count == pytest.approx(plan.STREAMS_WATCHED)


def test_cores_of_gateways_by_hand() -> None:
    m = plan.Measured()
    by_hand = 100_000 * (4e6 / 8 / 1_200) * m.rtp_us / 1e6
    assert plan.gateway_cores(m) == pytest.approx(by_hand)


def test_what_a_region_writes_is_its_share() -> None:
    whole, part = plan.writes_per_second(1.0), plan.writes_per_second(0.1)
    assert sum(part.values()) == pytest.approx(sum(whole.values()) / 10)
    assert whole["demand"] == (plan.CAMERAS + plan.STREAMS_WATCHED) / plan.DEMAND_SECONDS


def test_what_one_more_costs_is_shown_as_soon_as_it_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plan, "RESULTS", tmp_path)
    assert "tests.bench.scale" in scaling.one_more()
    line = {"each": 1.25, "without": 3.0, "worst": 0.5}
    kinds = {
        "a viewer": {"service": "webrtc-gateway", "cpu_unit": "percent of a core", "cpu": line, "memory_mib": line},
        "a job": {"service": "frame-extractor", "cpu_unit": "seconds", "cpu": line, "memory_mib": line},
    }
    found = {"date": "2026-01-02", "machine": {"load_before": 0.25}, "kinds": kinds}
    (tmp_path / "scale.json").write_text(json.dumps(found))
    viewer, job = scaling.one_more().splitlines()[2:4]
    assert viewer == "| a viewer | webrtc-gateway | 1.2 % of a core | 0.5 | 1.2 MiB | 3 MiB |"
    assert "1.2 s" in job
    assert "2026-01-02, load 0.25" in scaling.one_more()

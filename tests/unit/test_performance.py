"""The page of performance says what the results say, and says so where there is none."""

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ops import performance, tables
from tests.bench import picture, scale, summary
from tests.bench.dated import keep, machine

pytestmark = pytest.mark.unit

_SVG = "{http://www.w3.org/2000/svg}"


def test_summary_and_picture_are_of_these_results() -> None:
    found = json.loads(json.dumps(summary.document()))
    assert json.loads(summary.SUMMARY.read_text()) == found, "run `python -m tests.bench.summary`"
    assert summary.PICTURE.read_text() == picture.draw(found), "run `python -m tests.bench.summary`"


def test_the_page_has_every_table_and_row() -> None:
    text = performance.PAGE.read_text()
    assert tables.refresh(text, performance.TABLES) == text, "run `python -m ops.generate`"
    assert all(f"<!-- generated:{name} -->" in text for name in performance.TABLES)
    assert all(row.what in text for row in summary.rows())


def test_every_row_of_the_design_is_there() -> None:
    groups = list(dict.fromkeys(row.group for row in summary.rows()))
    assert groups == [
        "frame hand-off", "encode", "WebRTC egress", "join", "glass to glass", "extraction", "mix to 1080p", "start",
        "restart",
    ]  # fmt: skip


def test_every_result_has_its_day() -> None:
    for path in summary.RESULTS.glob("*.json"):
        if path != summary.SUMMARY:
            assert str(json.loads(path.read_text())["date"]).count("-") == 2, path


def _row(**fields: Any) -> summary.Row:
    usual = {
        "group": "g", "what": "w", "unit": "ms", "better": "lower", "goal": 2.0, "ours": 1.0, "peer": 4.0,
        "peer_name": "p", "file": "handoff",
    }  # fmt: skip
    return summary.Row(**{**usual, **fields})


@pytest.mark.parametrize(
    ("fields", "reached", "times"),
    [
        ({}, True, 4.0),
        ({"ours": 2.0}, True, 2.0),
        ({"ours": 8.0}, False, 0.5),
        ({"better": "higher", "ours": 8.0}, True, 2.0),
        ({"better": "higher"}, False, 0.25),
        ({"ours": None}, None, None),
        ({"peer": None}, True, None),
        ({"ours": 0, "peer": 0, "goal": 0}, True, None),
    ],
)
def test_goals_and_peers(fields: dict[str, Any], reached: bool | None, times: float | None) -> None:
    assert summary.reached(_row(**fields)) is reached
    assert summary.times_better(_row(**fields)) == times


def test_a_slower_result_is_told_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in summary.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    slower = json.loads((tmp_path / "handoff.json").read_text())
    slower["cases"]["4K60, 3 readers"]["mesh"]["after_copy_p99_ms"] = 7.5
    (tmp_path / "handoff.json").write_text(json.dumps(slower))
    for name in ("startup", "restart"):
        (tmp_path / f"{name}.json").unlink(missing_ok=True)
    monkeypatch.setattr(summary, "RESULTS", tmp_path)
    found = summary.document()
    row = next(row for row in found["rows"] if "p99" in row["what"])
    assert row["ours"] == 7.5
    assert row["reached"] is False
    monkeypatch.setattr(performance, "SUMMARY", tmp_path / "summary.json")
    performance.SUMMARY.write_text(json.dumps(found))
    line = next(line for line in performance.results().splitlines() if "p99" in line)
    assert "**not reached**" in line
    assert "7.5 ms" in line
    assert "not measured yet" in performance.results()
    assert "| startup | not measured yet |" in performance.runs()
    drawn = picture.draw(found)
    assert "7.5 ms" in drawn
    assert "not measured yet" in drawn


def test_the_picture_is_one_and_nothing_leaves_it() -> None:
    root = ElementTree.fromstring(summary.PICTURE.read_text())  # noqa: S314 - our own file
    width, height = (float(root.attrib[key]) for key in ("width", "height"))
    words = {text.text for text in root.iter(f"{_SVG}text")}
    assert {row.what for row in summary.rows()} <= words
    for box in root.iter(f"{_SVG}rect"):
        x, y, wide, high = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + wide <= width
        assert y >= 0
        assert y + high <= height


def test_what_one_more_costs_is_a_slope() -> None:
    points = [scale.Point(count, 3 + 1.5 * count, 60 + 2 * count) for count in (1, 2, 4, 8)]
    found = scale.fit(points)
    assert found["cpu"] == {"each": 1.5, "without": 3.0, "worst": 0.0}
    assert found["memory_mib"]["each"] == 2.0
    bent = [*points, scale.Point(16, 100, 92)]
    assert scale.fit(bent)["cpu"]["worst"] > 1, "a line that is none says so"


def test_results_are_kept_with_their_day(tmp_path: Path) -> None:
    keep(tmp_path / "results" / "x.json", {"machine": machine(0.5), "value": 1})
    found = json.loads((tmp_path / "results" / "x.json").read_text())
    assert list(found) == ["date", "slowness", "machine", "value"]
    assert 1.0 <= found["slowness"] <= 4.0
    assert found["machine"]["load_before"] == 0.5
    assert math.isfinite(found["machine"]["load_after"])

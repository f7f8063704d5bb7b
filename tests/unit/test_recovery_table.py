"""What the README says of failures is what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from ops import recovery, tables
from schemas.service_table import SERVICE_TABLE

README = Path(recovery.__file__).parents[1] / "README.md"


def row(times: int, median_s: float, worst_s: float, last: str = "cam0") -> dict[str, Any]:
    return {"times": times, "median_s": median_s, "p95_s": worst_s, "worst_s": worst_s, "last": last}


def test_the_readme_shows_it() -> None:
    text = README.read_text()
    assert text.count("<!-- generated:recovery -->") == 1
    assert tables.refresh(text, recovery.TABLES) == text, "run `python -m ops.generate`"


def test_services_and_what_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recovery, "RESULT", tmp_path / "recovery.json")
    assert "make chaos" in recovery.recovery()
    rows = {
        "kill capture": row(2, 0.74, 1.26),
        "freeze publisher": row(1, 0.2, 0.2),
        "kill the bus": row(1, 1, 1, "mix"),
    }
    (tmp_path / "recovery.json").write_text(
        json.dumps({"seconds": 600, "seed": 7, "disturbances": 4, "slowness": 1.26, "recovery": rows})
    )
    told = recovery.recovery().splitlines()
    assert [line.split(" | ")[0] for line in told[2 : 2 + len(SERVICE_TABLE)]] == [
        f"| {one.name}" for one in SERVICE_TABLE
    ]
    assert "| capture | 0.7 (1.3) | - | - | - |" in told
    assert "| publisher | - | 0.2 | - | - |" in told
    assert "| kill the bus | 1.0 | mix |" in told
    assert told[-1].startswith("4 of them in 600 s, seed 7; the machine was 1.3 times")

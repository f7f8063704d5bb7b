"""The tables of docs/performance.md, from the benchmarks' summary: what was to be reached, what was, and a peer's."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
SUMMARY = Path(__file__).parents[1] / "tests" / "bench" / "results" / "summary.json"
BEFORE = SUMMARY.parent / "before" / "faster_machine.json"
"""A summary of the day before, on a machine that was about twice as fast: what the same code does there."""


def _summary() -> Any:
    return json.loads(SUMMARY.read_text())


def _before() -> dict[tuple[str, str], str]:
    """Ours of the faster machine, and how many times better than the peer, by group and row."""
    rows = json.loads(BEFORE.read_text())["rows"]
    return {
        (row["group"], row["what"]): _n(row["ours"], row["unit"]) + (f", {_times(row)}" if _times(row) else "")
        for row in rows
    }


def _times(row: Mapping[str, Any]) -> str:
    return f"{row['times_better']:.3g}x" if row["times_better"] else ""


def _n(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    # Counts as they are, all else with three digits that count.
    text = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def results() -> str:
    """Each row of the design, its goal, ours and the peer's, and ours on a faster machine."""
    found, before = _summary(), _before()
    lines = ["| | | goal | ours | peer | ours is | | faster machine |", "|---|---|---|---|---|---|---|---|"]
    group = ""
    for row in found["rows"]:
        sign = "≤" if row["better"] == "lower" else "≥"
        beside = f"{_n(row['peer'], '')} ({row['peer_name']})" if row["peer"] is not None else ""
        end = {True: "reached", False: "**not reached**", None: "not measured yet"}[row["reached"]]
        first = "" if row["group"] == group else row["group"]
        group = row["group"]
        goal = f"{sign} {_n(row['goal'], row['unit'])}"
        lines.append(
            f"| {first} | {row['what']} | {goal} | {_n(row['ours'], row['unit'])} | {beside} | {_times(row)} | {end} "
            f"| {before.get((row['group'], row['what']), '')} |"
        )
    return "\n".join(lines)


def runs() -> str:
    """When and where each was measured."""
    lines = ["| result | day | machine | slowness | load before |", "|---|---|---|---|---|"]
    for name, run in _summary()["runs"].items():
        load = "" if run["load_before"] is None else f"{run['load_before']:.1f}"
        link = f"[{name}](../tests/bench/results/{name}.json)" if run["date"] else name
        slowness = "" if run["slowness"] is None else f"{run['slowness']:.1f}"
        lines.append(f"| {link} | {run['date'] or 'not measured yet'} | {run['machine']} | {slowness} | {load} |")
    return "\n".join(lines)


TABLES: Mapping[str, Callable[[], str]] = {"results": results, "runs": runs}

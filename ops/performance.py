"""The tables of docs/performance.md, from the benchmarks' summary: what was to be reached, what was, and a peer's."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
SUMMARY = Path(__file__).parents[1] / "tests" / "bench" / "results" / "summary.json"


def _summary() -> Any:
    return json.loads(SUMMARY.read_text())


def _n(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    # Counts as they are, all else with three digits that count.
    text = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def results() -> str:
    """Each row of the design, its goal, ours and the peer's."""
    found = _summary()
    lines = ["| | | goal | ours | peer | ours is | |", "|---|---|---|---|---|---|---|"]
    group = ""
    for row in found["rows"]:
        sign = "≤" if row["better"] == "lower" else "≥"
        beside = f"{_n(row['peer'], '')} ({row['peer_name']})" if row["peer"] is not None else ""
        than = f"{row['times_better']:.3g}x" if row["times_better"] else ""
        end = {True: "reached", False: "**not reached**", None: "not measured yet"}[row["reached"]]
        first = "" if row["group"] == group else row["group"]
        group = row["group"]
        goal = f"{sign} {_n(row['goal'], row['unit'])}"
        lines.append(
            f"| {first} | {row['what']} | {goal} | {_n(row['ours'], row['unit'])} | {beside} | {than} | {end} |"
        )
    return "\n".join(lines)


def runs() -> str:
    """When and where each was measured."""
    lines = ["| result | day | machine | load before |", "|---|---|---|---|"]
    for name, run in _summary()["runs"].items():
        load = "" if run["load_before"] is None else f"{run['load_before']:.1f}"
        link = f"[{name}](../tests/bench/results/{name}.json)" if run["date"] else name
        lines.append(f"| {link} | {run['date'] or 'not measured yet'} | {run['machine']} | {load} |")
    return "\n".join(lines)


TABLES: Mapping[str, Callable[[], str]] = {"results": results, "runs": runs}

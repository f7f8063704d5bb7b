"""The report of a long run: results.json for programs, REPORT.md for people."""

import json
import platform
import time
from pathlib import Path
from typing import Any

JSON_NAME = "results.json"
PAGE_NAME = "REPORT.md"


def write(folder: Path, outcomes: list[dict[str, Any]], seed: int) -> None:
    """Write both; outcomes of one run."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(outcomes, key=lambda outcome: outcome["target"].lower())
    facts = {
        "taken": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "python": platform.python_version(),
        "seed": seed,
        "inputs": sum(outcome["inputs"] for outcome in ordered),
        "cpu_seconds": round(sum(outcome.get("cpu_seconds", 0.0) for outcome in ordered)),
        "findings": sum(len(outcome["findings"]) for outcome in ordered),
        "targets": ordered,
    }
    (folder / JSON_NAME).write_text(json.dumps(facts, indent=1) + "\n")
    (folder / PAGE_NAME).write_text(_page(facts))


def _page(facts: dict[str, Any]) -> str:
    lines = [
        "# What was fuzzed, and what was found",
        "",
        f"Written by `make fuzz` on {facts['taken']}: {facts['inputs']:,} inputs in {facts['cpu_seconds']:,} s of CPU "
        f"on Python {facts['python']}, seed {facts['seed']}; **{facts['findings']} findings**.",
        "",
        "`kept` are inputs that led to code that none before had led to; `grown` is what the process's memory grew by "
        "after a third of its time, libFuzzer's own notes included. What was found by all runs, and how it was mended: "
        "[FOUND.md](FOUND.md).",
        "",
        "| target | inputs | kept | slowest ms | grown MiB | findings |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for outcome in facts["targets"]:
        found = "; ".join(f"{key} ({one['count']} times)" for key, one in outcome["findings"].items())
        ended = "" if outcome.get("ended") == "in time" else f" **ended {outcome.get('ended', '')[:120]}**"
        cells = (
            outcome["target"],
            f"{outcome['inputs']:,}",
            f"{outcome.get('kept', 0):,}",
            f"{outcome.get('slowest_ms', 0):g}",
            f"{outcome.get('grown_kib', 0) / 1024:.1f}",
            ((found or "none") + ended).replace("\n", " "),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"

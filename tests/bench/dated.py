"""How the benchmarks keep what they found: with its day and its machine, which a number means little without."""

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

from tests.support.pace import slowness_now


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def machine(load_before: float | None = None) -> dict[str, Any]:
    """`load_before`: of the last minute before the run; other work on the machine takes time and caches away."""
    found: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "load_after": round(os.getloadavg()[0], 2),
    }
    return found if load_before is None else found | {"load_before": round(load_before, 2)}


def keep(path: Path, report: dict[str, Any]) -> None:
    """Write a report, its day first, and how much slower than the reference the machine was just after it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"date": today(), "slowness": round(slowness_now(), 1), **report}, indent=1) + "\n")

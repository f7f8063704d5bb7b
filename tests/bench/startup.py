"""`framemesh up --demo` to a picture in a browser that is open already: `python -m tests.bench.startup [--quick]`.

Warm: the run before the first that counts has read every file. Beside it what Python itself takes: all services'
modules imported, by as many processes at once. Results in results/startup.json; `--quick` is shorter and writes
nothing.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from schemas.service_table import SERVICE_TABLE
from tests.bench.dated import keep, machine
from tests.support.console import ConsolePage, console_page
from tests.support.mesh import RunningMesh

RESULTS = Path(__file__).parent / "results" / "startup.json"
GOAL_SECONDS = 5.0
_RUNS, _QUICK_RUNS = 5, 1
_PICTURE_SECONDS = 20.0


class Start(NamedTuple):
    """Seconds since the command, one after the other."""

    ready: float
    """Every service answers, and the console's URL is told."""
    page: float
    """The page is loaded."""
    picture: float
    """The first one is on screen."""


def start(console: ConsolePage) -> Start:
    began = time.monotonic()
    with RunningMesh("--demo") as mesh:
        ready = time.monotonic() - began
        console.open(mesh.console)
        page = time.monotonic() - began
        console.playing("demo", seconds=_PICTURE_SECONDS, frames=1)
        picture = time.monotonic() - began
        console.page.goto("about:blank")
    return Start(ready, page, picture)


def imports_seconds(modules: list[str]) -> float:
    """Of one process for each, all at once: until the last has imported what its service does."""
    began = time.monotonic()
    children = [subprocess.Popen([sys.executable, "-c", f"import {module}.service"]) for module in modules]
    codes = [child.wait() for child in children]
    if any(codes):
        raise RuntimeError(f"imports of {modules} ended with {codes}")
    return time.monotonic() - began


def main() -> int:
    quick = "--quick" in sys.argv
    load_before = os.getloadavg()[0]
    modules = [entry.module for entry in SERVICE_TABLE]
    found: list[Start] = []
    alone: list[float] = []
    with console_page() as console:
        start(console)
        for _ in range(_QUICK_RUNS if quick else _RUNS):
            found.append(start(console))
            alone.append(imports_seconds(modules))
            print(f"{found[-1]}; imports alone {alone[-1]:.2f} s", flush=True)
    medians = {key: round(statistics.median(getattr(one, key) for one in found), 2) for key in Start._fields}
    report = {
        "what": "seconds from `framemesh up --demo` to a picture in an open browser, warm",
        "goal_s": GOAL_SECONDS,
        "machine": machine(load_before),
        "median_s": medians,
        "imports_alone_s": round(statistics.median(alone), 2),
        "runs": [{key: round(value, 3) for key, value in one._asdict().items()} for one in found],
    }
    print(f"medians {medians}, goal {GOAL_SECONDS:g}; imports alone {report['imports_alone_s']}")
    if not quick:
        keep(RESULTS, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())

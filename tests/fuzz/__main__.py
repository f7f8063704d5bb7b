"""The long form: `make fuzz`, or

    python -m tests.fuzz [--seconds N] [--jobs N] [--seed N] [TARGET …]

Every target gets a share of the time; results are in tests/fuzz/results. Exits with 1 when there is a finding.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.fuzz.guided import PACKAGES, fuzz
from tests.fuzz.inputs import SHM, shm_prefix
from tests.fuzz.report import write

_SECONDS: Final = 1_800.0
_JOBS: Final = 2  # of the machine's cores
_LATE_SECONDS: Final = 90.0  # beyond its share: a target that does not come back by then hangs
_POLL_SECONDS: Final = 0.2
_LEAST_SECONDS: Final = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz every way in, guided by coverage.")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for all targets, of each job")
    parser.add_argument("--jobs", type=int, default=_JOBS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("targets", nargs="*", help="names; none: all of them")
    given = parser.parse_args()
    targets = _instrumented(given.targets)
    shares = sum(target.share for target in targets)
    waiting = sorted(targets, key=lambda target: -target.share)
    running: dict[int, tuple[Any, Path, float]] = {}
    outcomes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="framemesh-fuzz-") as folder:
        while waiting or running:
            while waiting and len(running) < given.jobs:
                target = waiting.pop(0)
                seconds = max(_LEAST_SECONDS, given.seconds * given.jobs * target.share / shares)
                report = Path(folder) / f"{len(waiting)}.json"
                process = _forked(target, seconds, given.seed, report, Path(folder))
                running[process] = (target, report, time.monotonic() + seconds + _LATE_SECONDS)
            time.sleep(_POLL_SECONDS)
            for process, (target, report, deadline) in list(running.items()):
                ended, status = os.waitpid(process, os.WNOHANG)
                if not ended and time.monotonic() < deadline:
                    continue
                if not ended:
                    os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                del running[process]
                for left in SHM.glob(f"{shm_prefix(process)}*"):
                    shutil.rmtree(left, ignore_errors=True)
                outcomes.append(_outcome(report, target.name, status if ended else None))
                print(_line(outcomes[-1]), flush=True)
    write(given.results, outcomes, given.seed)
    return int(any(outcome["findings"] or outcome["ended"] != "in time" for outcome in outcomes))


def _instrumented(names: list[str]) -> list[Any]:
    import atheris

    with atheris.instrument_imports(include=list(PACKAGES)):
        from tests.fuzz.targets import TARGETS
    unknown = set(names) - {target.name for target in TARGETS}
    if unknown:
        sys.exit(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(t.name for t in TARGETS)}")
    return [target for target in TARGETS if not names or target.name in names]


def _forked(target: Any, seconds: float, seed: int, report: Path, folder: Path) -> int:
    process = os.fork()
    if process:
        return process
    try:
        os.environ["TMPDIR"] = str(folder)  # what a killed one leaves goes with it
        tempfile.tempdir = None
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(os.open(report.with_suffix(".log"), os.O_WRONLY | os.O_CREAT, 0o600), 2)
        fuzz(target, seconds, seed, report)
    finally:
        os._exit(70)  # EX_SOFTWARE: it returns only where something is wrong


def _outcome(report: Path, name: str, status: int | None) -> dict[str, Any]:
    outcome: dict[str, Any] = {"target": name, "inputs": 0, "findings": {}}
    if report.exists():
        outcome = json.loads(report.read_text())
    if status is None:
        outcome["ended"] = "hung, and was killed"
    elif status:
        said = report.with_suffix(".log").read_text(errors="replace")[-1500:]
        outcome["ended"] = f"by itself, with {os.waitstatus_to_exitcode(status)}: {said}"
    return outcome


def _line(outcome: dict[str, Any]) -> str:
    found = ", ".join(f"{key} ({one['count']})" for key, one in outcome["findings"].items()) or "nothing found"
    return f"{outcome['target']:22} {outcome['inputs']:>9} inputs  {found}  {outcome.get('ended', '')}"


if __name__ == "__main__":
    sys.exit(main())

"""Steady load for half an hour, and what grows meanwhile: `make soak`, or

    python -m tests.soak [--minutes 30] [--results FOLDER]

A mesh encodes, records, mixes and serves viewers, while small things come and go (`tests.soak.load`). Memory, file
descriptors, threads, tasks, latencies, sound beside its pictures, disk, shared memory and the bus' stores are looked at
every few seconds; each has a slope, a limit and a verdict (`tests.soak.verdicts`). Writes soak.json, soak.md and
soak.svg; exits with 1 when one grows by more than it may, a turn fails, or a process was started again.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.soak import report
from tests.soak.load import LONG, Load, Pace, soak_mesh
from tests.soak.looks import Look, Watcher
from tests.soak.verdicts import judge
from tests.support.pace import slowness_now

RESULTS = Path(__file__).parent / "results"
_MINUTES = 30.0
_LOOK_SECONDS = 5.0
_THOROUGH_SECONDS = 30.0  # these looks take half a second of a core
_TOLD_SECONDS = 60.0
# A machine so slow that looks are rare makes a soak longer, to a bound: fewer than these give no slope.
_FEWEST_THOROUGH = 6
_LATEST = 4.0


def soak(seconds: float, pace: Pace, look_seconds: float, thorough_seconds: float) -> dict[str, Any]:
    """One soak; what it found, as it is written."""
    load_before, slow_before = os.getloadavg()[0], slowness_now()
    looks: list[Look] = []
    fewest = float("inf")
    with soak_mesh() as mesh, Load(mesh, pace) as load:
        load.turn()  # the first of everything loads modules and makes pools
        watcher = Watcher(mesh)
        began = looked = turned = time.monotonic()
        thorough = told = began - thorough_seconds
        packets, packets_at, deep_looks = load.packets(), began, 0
        while (spent := (now := time.monotonic()) - began) < seconds or (
            deep_looks < _FEWEST_THOROUGH and spent < seconds * _LATEST
        ):
            if now - turned >= pace.turn_seconds:
                turned = now
                load.turn()
            if deep := now - thorough >= thorough_seconds:
                thorough, deep_looks = now, deep_looks + 1
            looks.append(watcher.look(thorough=deep))
            before, before_at = packets, packets_at
            packets, packets_at = load.packets(), time.monotonic()
            if packets_at - before_at >= look_seconds / 2:
                fewest = min(fewest, (packets - before) / (packets_at - before_at))
            if now - told >= _TOLD_SECONDS:
                told = now
                print(f"{now - began:5.0f} s: {load.turns} turns, {len(load.failed)} failed", flush=True)
            looked += look_seconds
            looked = max(looked, time.monotonic())  # a look took longer than it may: not two at once
            time.sleep(max(0.0, looked - time.monotonic()))
        looks.append(watcher.look(thorough=True))
        slow = max(slow_before, slowness_now())
        return report.make(
            seconds=looks[-1].at_seconds,
            verdicts=judge(looks, slow),
            turns=load.turns,
            failed=load.failed,
            restarts=watcher.restarts,
            fewest_packets_per_second=fewest,
            machine={"slowness": round(slow, 2), "load_before": round(load_before, 2)},
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="What grows in a mesh under steady load.")
    parser.add_argument("--minutes", type=float, default=_MINUTES)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for soak.json, soak.md and soak.svg")
    given = parser.parse_args()
    found = soak(given.minutes * 60, LONG, _LOOK_SECONDS, _THOROUGH_SECONDS)
    report.write(found, given.results)
    print(report.markdown(found))
    return 0 if found["good"] else 1


if __name__ == "__main__":
    sys.exit(main())

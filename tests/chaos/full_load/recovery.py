"""How long a mesh takes to be well again after each kind of disturbance: measured, and written as a table."""

import json
import math
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.chaos.full_load.flows import Back, back
from tests.chaos.full_load.load import FullLoad

STEADY_SECONDS: Final = 1.5
"""So long everything must flow before the mesh is well: what a disturbance does may begin a second after it."""
LIMIT_SECONDS: Final = 15.0
"""From the end of a disturbance: the launcher waits up to ten for what is killed again and again."""
GIVE_UP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1
_P95: Final = 0.95
RESULTS: Final = Path(__file__).parents[1] / "results"
_HEADER: Final = """# Recovery under full load

Seconds from the end of each disturbance until everything flows again and stays so: pictures of each stream and of the
mix, packets of each rendition, pictures at each viewer, commands of the signal and lines of the input, jobs, and the
state as desired. What no flow notices takes 0.00. A frozen or cut-off part is over when it may go on. A viewer that
sees nothing for a second joins again by itself: of what ends sessions, that second is in the time.

The longest was that of the flow named last. `python -m tests.chaos.full_load --seconds 600 --seed 7` makes this table.
"""


class Recovered(NamedTuple):
    kind: str
    seconds: float
    flow: str
    """That was the last."""
    well: bool
    """Within the limit."""


def recover(load: FullLoad, kind: str, since: float) -> Recovered:
    """Wait until everything flows again; `since`: monotonic, the end of the disturbance."""
    limit_seconds = LIMIT_SECONDS * load.slowness
    while True:
        seen = load.seen()
        backs = _backs(seen, since)
        missing = [name for name, one in backs.items() if one is None]
        if not missing:
            last = max((one for one in backs.values() if one is not None), key=lambda one: one.seconds)
            return Recovered(kind, last.seconds, last.flow if last.seconds else "", last.seconds <= limit_seconds)
        if time.monotonic() - since > GIVE_UP_SECONDS * load.slowness:
            return Recovered(kind, time.monotonic() - since, f"{', '.join(missing)}: {seen['unsettled']}", False)
        if not load.application_lives():  # superseded, or it could not begin: whoever runs it begins it again
            load.begin_application()
        time.sleep(_LOOK_SECONDS)


def _backs(seen: dict[str, Any], since: float) -> dict[str, Back | None]:
    return {name: back(name, told, since, seen["at"], STEADY_SECONDS) for name, told in seen["flows"].items()}


def table(recovered: list[Recovered]) -> dict[str, dict[str, Any]]:
    """By kind: how often, median, 95th percentile (nearest rank) and worst in seconds, what was last then."""
    by_kind: defaultdict[str, list[Recovered]] = defaultdict(list)
    for one in recovered:
        by_kind[one.kind].append(one)
    found = {}
    for kind, ones in sorted(by_kind.items()):
        seconds = sorted(one.seconds for one in ones)
        found[kind] = {
            "times": len(ones),
            "median_s": round(statistics.median(seconds), 2),
            "p95_s": round(seconds[math.ceil(_P95 * len(seconds)) - 1], 2),
            "worst_s": round(seconds[-1], 2),
            "last": max(ones, key=lambda one: one.seconds).flow,
        }
    return found


def write(recovered: list[Recovered], about: dict[str, Any], folder: Path = RESULTS) -> None:
    """`recovery.json` and `RECOVERY.md`. `about`: of the run, as it is told."""
    folder.mkdir(exist_ok=True, parents=True)
    rows = table(recovered)
    (folder / "recovery.json").write_text(json.dumps({**about, "recovery": rows}, indent=2) + "\n")
    (folder / "RECOVERY.md").write_text(f"{_HEADER}\n{markdown(rows)}\n{_told(about)}\n")


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| disturbance | times | median s | p95 s | worst s | last |", "|---|---|---|---|---|---|"]
    for kind, row in rows.items():
        seconds = " | ".join(f"{row[name]:.2f}" for name in ("median_s", "p95_s", "worst_s"))
        lines.append(f"| {kind} | {row['times']} | {seconds} | {row['last']} |")
    return "\n".join(lines) + "\n"


def _told(about: dict[str, Any]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in about.items() if name != "wrong")

"""What a soak found, for programs, for people, and as a picture."""

import datetime
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.soak import picture
from tests.soak.verdicts import MEASURES, WARM_UP_SHARE, Verdict

_MOST_POINTS = 90  # of a line of the picture: more are not seen


def make(
    *,
    seconds: float,
    verdicts: Sequence[Verdict],
    turns: int,
    failed: Sequence[str],
    restarts: Sequence[str],
    fewest_packets_per_second: float,
    machine: dict[str, Any],
) -> dict[str, Any]:
    """As it is written to soak.json."""
    missing = sorted(MEASURES.keys() - {one.measure for one in verdicts})
    good = all(one.good for one in verdicts) and not (failed or restarts or missing) and fewest_packets_per_second > 0
    return {
        "what": "a mesh under steady load: what grows, and whether it may",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_after": round(os.getloadavg()[0], 2),
            **machine,
        },
        "good": good,
        "seconds": round(seconds),
        "warm_up_seconds": round(seconds * WARM_UP_SHARE),
        "turns": turns,
        "failed_turns": list(failed),
        "restarts": list(restarts),
        "not_measured": missing,
        "fewest_packets_per_second": round(fewest_packets_per_second, 1),
        "measures": {
            name: {"unit": of.unit, "may_grow_per_hour": of.per_hour, "noise": of.noise, "why": of.why}
            for name, of in MEASURES.items()
        },
        "verdicts": [_plain(one) for one in verdicts],
    }


def _plain(one: Verdict) -> dict[str, Any]:
    step = max(1, -(-len(one.points) // _MOST_POINTS))
    return {
        "measure": one.measure,
        "of": one.of,
        "good": one.good,
        **{key: round(getattr(one, key), 3) for key in ("first", "last", "median", "per_hour", "growth", "allowed")},
        "points": [[round(at, 1), round(value, 2)] for at, value in one.points[::step]],
    }


def markdown(found: dict[str, Any]) -> str:
    """The whole report; what is beyond its limit first."""
    machine = found["machine"]
    lines = [
        "# Soak",
        "",
        f"{found['seconds'] / 60:.1f} minutes on {found['date']}, "
        f"the first {found['warm_up_seconds'] / 60:.1f} to warm up; "
        f"{machine['cpus']} cores, Python {machine['python']}, load {machine['load_before']} before and "
        f"{machine['load_after']} after, {machine['slowness']} times as slow as the reference.",
        "",
        f"**{'Good' if found['good'] else 'Not good'}.** {found['turns']} turns, {len(found['failed_turns'])} failed; "
        f"{len(found['restarts'])} processes started again; viewers got at least "
        f"{found['fewest_packets_per_second']:g} packets/s.",
        "",
        *(f"- {text}" for text in (*found["failed_turns"], *found["restarts"])),
        *([f"- not measured: {', '.join(found['not_measured'])}"] if found["not_measured"] else []),
        "",
        "![slopes](soak.svg)",
        "",
        "| measure | of | first | last | in an hour | growth | may be | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ends = {True: "", False: "**no**"}
    ordered = sorted(found["verdicts"], key=lambda one: (one["good"], list(MEASURES).index(one["measure"]), one["of"]))
    for one in ordered:
        unit = f" {found['measures'][one['measure']]['unit']}".rstrip()
        lines.append(
            f"| {one['measure']} | {one['of']} | {one['first']:.1f}{unit} | {one['last']:.1f}{unit} "
            f"| {one['per_hour']:+.1f} | {one['growth']:+.1f} | {one['allowed']:.1f} | {ends[one['good']]} |"
        )
    why = [f"- {name}: {of['why']}" for name, of in found["measures"].items()]
    return "\n".join([*lines, "", "Why so much may be:", "", *why, ""])


def write(found: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "soak.md").write_text(markdown(found))
    (folder / "soak.svg").write_text(picture.draw(found))

"""What was to be reached, what was, and what a peer does: results/summary.json, of all results that there are.

`python -m tests.bench.summary` reads results/*.json, each with its own day and machine, and writes summary.json and
docs/bench.svg; `python -m ops.generate` makes the table of docs/performance.md of it. Nothing is measured here. A row
whose benchmark has not been run on a quiet machine yet says so.
"""

import json
import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.bench import picture

RESULTS = Path(__file__).parent / "results"
SUMMARY = RESULTS / "summary.json"
PICTURE = Path(__file__).parents[2] / "docs" / "bench.svg"


class Row(NamedTuple):
    """One number to reach."""

    group: str
    what: str
    unit: str
    better: Literal["lower", "higher"]
    goal: float
    ours: float | None
    """None: not measured yet."""
    peer: float | None
    peer_name: str
    file: str
    """Of results/, without its ending."""


def _read(name: str) -> Any:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _handoff() -> Iterable[Row]:
    group, case = "frame hand-off", "4K60, 3 readers"
    mesh, peer = (_read("handoff")["cases"][case][system] for system in ("mesh", "iceoryx2"))
    about: tuple[Any, ...] = ("iceoryx2", "handoff")
    yield Row(group, f"{case}: dropped", "", "lower", 0, mesh["drops"], peer["drops"], *about)
    for percent, goal in ((50, 1.0), (99, 5.0)):
        key = f"after_copy_p{percent}_ms"
        yield Row(group, f"{case}: p{percent} after the copy", "ms", "lower", goal, mesh[key], peer[key], *about)
    # Within 1.3 of the peer, from the beginning of the copy that both must make.
    goal = 1.3 * peer["with_copy_p50_ms"]
    what = f"{case}: p50 with the copy"
    yield Row(group, what, "ms", "lower", goal, mesh["with_copy_p50_ms"], peer["with_copy_p50_ms"], *about)


def _encode() -> Iterable[Row]:
    for name, found in _read("encode_mesh")["results"].items():
        fps = found["fps"]
        goal = 0.97 * fps["ffmpeg"]
        # Ours is the peer's by the median of neighbouring runs, which the machine's other work hardly touches.
        ours = found["fps_ratio"] * fps["ffmpeg"]
        about: tuple[Any, ...] = ("ffmpeg", "encode_mesh")
        yield Row("encode", name.replace("-", " "), "pictures/s", "higher", goal, ours, fps["ffmpeg"], *about)


def _egress() -> Iterable[Row]:
    found = _read("egress")
    medians = found["us_per_packet_medians"]
    for name, words in (("framemesh", ""), ("framemesh, no GSO", ", no GSO")):
        for count in ("4", "16", "32"):
            peers = {peer: medians[peer][count] for peer in ("janus", "aiortc") if count in medians.get(peer, {})}
            best = min(peers, key=lambda peer: peers[peer], default="")
            what = f"{count} viewers{words}: CPU per packet"
            peer = peers.get(best)
            yield Row(
                "WebRTC egress", what, "us", "lower", found["goal_us"], medians[name][count], peer, best, "egress"
            )


def _glass() -> Iterable[Row]:
    found = _read("glass")
    beside = found.get("janus") or []
    goals = found["targets"]
    peer_join = statistics.median(run["join_ms"] for run in beside) if beside else None
    name = "Janus" if beside else ""
    join = found["join"]["p50_ms"]
    yield Row("join", "first picture, p50", "ms", "lower", goals["join_p50_ms"], join, peer_join, name, "glass")
    for key, goal in (("p50_ms", goals["p50_ms"]), ("p95_ms", goals["p95_ms"])):
        ours = statistics.median(run["by_time_code"][key] for run in found["runs"])
        peer = statistics.median(run["by_time_code"][key] for run in beside) if beside else None
        what = f"720p30 by time code, {key.removesuffix('_ms')}"
        yield Row("glass to glass", what, "ms", "lower", goal, ours, peer, name, "glass")


def _extract() -> Iterable[Row]:
    cases = _read("extract")["results"]
    whole = [one for one in cases if "sparse" not in one["case"]]
    for key, word, goal in (("wall_s", "wall", 1.8), ("cpu_s", "CPU", 1.4)):
        for one in whole:
            ours = one["ways"]["framemesh"][key]
            # By the median of the rounds' own ratios.
            peer = one["peer_by_ours"][key] * ours
            ways = {way: took[key] for way, took in one["ways"].items() if way != "framemesh"}
            name = min(ways, key=lambda way: ways[way])
            what = f"{one['case'].replace(', 1 a second', '')}: {word}"
            yield Row("extraction", what, "s", "lower", peer / goal, ours, peer, name, "extract")
    pictures = sum(one["pictures"] for one in cases)
    same = sum(one["equal_by_hash"] for one in cases)
    yield Row("extraction", "pictures that are the same", "", "higher", pictures, same, None, "", "extract")


def _mix() -> Iterable[Row]:
    cases = _read("mix")["cases"]
    for name, goal in (("4 inputs", 1.5), ("4 inputs, x264", 1.1), ("8 inputs", 1.5)):
        ours = cases[name]["ours"]["fps"]
        peer = ours / cases[name]["fps_ratio"]  # by the median of the rounds' own ratios
        yield Row("mix to 1080p", name, "pictures/s", "higher", goal * peer, ours, peer, "ffmpeg", "mix")


def _startup() -> Iterable[Row]:
    found = _read("startup")
    ours = found["median_s"]["picture"] if found else None
    peer = found["imports_alone_s"] if found else None
    about: tuple[Any, ...] = ("its imports alone", "startup")
    yield Row("start", "up --demo to a picture", "s", "lower", 5.0, ours, peer, *about)


def _restart() -> Iterable[Row]:
    found = _read("restart")
    services = found["services"] if found else {"any service": {"median_s": None, "imports_alone_s": None}}
    for service, one in services.items():
        alone = one["imports_alone_s"]
        name = "its imports alone" if alone is not None else ""
        yield Row("restart", f"{service} after kill -9", "s", "lower", 2.0, one["median_s"], alone, name, "restart")
    left = found["rings_left_over"] if found else None
    yield Row("restart", "rings left over", "", "lower", 0, left, None, "", "restart")


def rows() -> list[Row]:
    """Of all results, in the order of the design's table."""
    sources = (_handoff, _encode, _egress, _glass, _extract, _mix, _startup, _restart)
    return [row for source in sources for row in source()]


def reached(row: Row) -> bool | None:
    """None: nobody knows yet."""
    if row.ours is None:
        return None
    return row.ours <= row.goal if row.better == "lower" else row.ours >= row.goal


def times_better(row: Row) -> float | None:
    """Than the peer; below 1 it is the peer that is better. None: there is none, or one of both is nought."""
    if not row.ours or not row.peer:
        return None
    return row.peer / row.ours if row.better == "lower" else row.ours / row.peer


def document() -> dict[str, Any]:
    """As it is written to summary.json."""
    found = rows()
    return {
        "what": "goal, ours and a peer's, of one run each; lines of the design's table",
        "runs": {name: _run(name) for name in dict.fromkeys(row.file for row in found)},
        "rows": [
            {
                **{key: _short(value) for key, value in row._asdict().items()},
                "times_better": _short(times_better(row)),
                "reached": reached(row),
            }
            for row in found
        ],
    }


def _run(name: str) -> dict[str, Any]:
    """When and where; None where it was not told, or not run."""
    found = _read(name)
    if found is None:
        return {"date": None, "machine": "", "slowness": None, "load_before": None}
    machine = found.get("machine") or found.get("about") or {}
    words = [
        f"{machine.get('cpus') or machine.get('cores')} cores",
        str(machine.get("platform") or machine.get("kernel") or ""),
        f"Python {machine['python']}",
    ]
    load = machine.get("load_before", machine.get("load"))
    load = load[0] if isinstance(load, list) else load
    return {
        "date": found["date"],
        "machine": ", ".join(filter(None, words)),
        "slowness": found.get("slowness"),
        "load_before": _short(load),
    }


def _short(value: Any) -> Any:
    """Four digits that count: more are noise."""
    if not isinstance(value, float) or not math.isfinite(value) or not value:
        return value
    return round(value, 3 - math.floor(math.log10(abs(value))))


def main() -> None:
    found = document()
    SUMMARY.write_text(json.dumps(found, indent=1) + "\n")
    PICTURE.write_text(picture.draw(found))
    for row in found["rows"]:
        word = {True: "reached", False: "not reached", None: "not measured yet"}[row["reached"]]
        print(f"{row['group']:16}{row['what']:44}{row['goal']!s:>8}{row['ours']!s:>8}{row['peer']!s:>8}  {word}")
    print(f"wrote {SUMMARY} and {PICTURE}")


if __name__ == "__main__":
    main()

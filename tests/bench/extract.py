"""Pictures out of videos to JPEG: the engine next to ffmpeg, OpenCV, decord, torchcodec and PyAV, interleaved.

`python -m tests.bench.extract` prints wall time, processor time and peak memory of every way, and writes
results/extract.json; within 8 minutes, once its videos are there. `--quick` is one round and writes nothing, and words
pick the cases (`4k`, `sparse`, `1-worker`).

A way is a process of its own: its start and its imports count. All ways of all cases take their turn in every round,
and a ratio is the median of those within the rounds, so that load which comes and goes falls on all of them; `best` is
the least of all rounds. Peers that are far behind in the first round do not run again. Before that, every case proves
that the engine's pictures are those of an exhaustive decode, plane by plane, and that their colours are right.

Peers that are no dependency of ours come from the folders in FRAMEMESH_BENCH_PEERS (`pip install --target`, with colons
between them); those that cannot be imported are left out. Videos are made once, in FRAMEMESH_BENCH_CLIPS or a folder of
the system's temporary ones: 4 minutes.
"""

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.dated import keep
from tests.bench.extract_clips import CLIPS, clip, exhaustive
from tests.bench.extract_peers import DECODING, SEEKING
from tests.bench.extract_proof import alike, colour_error, equal, right_colours
from tests.bench.extract_server import Server, served

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "extract.json"
PEERS = [folder for folder in os.environ.get("FRAMEMESH_BENCH_PEERS", "").split(os.pathsep) if folder]
REACH_WALL, REACH_CPU = 1.8, 1.4
OURS = "framemesh"
BUDGET_SECONDS = 440.0  # no round is begun that would end later; proofs before count, and two rounds there are always
MIN_ROUNDS, MAX_ROUNDS = 2, 5
_FAR_BEHIND = 1.25  # of the best peer in the first round, in wall and processor time: more than rounds differ
_MEASURES = ("wall_s", "cpu_s", "peak_mb")


class Case(NamedTuple):
    name: str
    video: str
    step_s: float
    workers: int
    remote: bool = False

    @property
    def ways(self) -> dict[str, Callable[..., None]]:
        known = DECODING if self.step_s <= 1 else SEEKING
        left_out: tuple[str, ...] = ()
        if self.workers == 1:
            left_out = "decord", "torchcodec"  # the slowest of all, and time is dear
        if self.remote:
            left_out = "decord", "ffmpeg seek"  # the one opens files only, the other opens it once for each picture
        return {name: way for name, way in known.items() if name not in left_out}


CASES = (
    *(
        Case(f"{video}, 1 a second, {workers}-worker", video, 1.0, workers)
        for video in ("h264-1080p", "h264-720p", "h265-4k")
        for workers in (1, 2)
    ),
    Case("h264-720p of 10 min, sparse: 1 in 10 s, 2-worker", "h264-720p-long", 10.0, 2),
    Case("the same over HTTP, sparse: 1 in 10 s, 2-worker", "h264-720p-long", 10.0, 2, remote=True),
)


class Bench:
    """Runs ways, and keeps what they took."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.runs: dict[tuple[Case, str], list[dict[str, float]]] = {}
        self.facts: dict[Case, dict[str, Any]] = {}
        missing = {way for way, module in _MODULES.items() if find_spec(module) is None}
        for way in sorted(missing):
            print(f"{way} is not installed: left out")
        self._missing = missing

    def prove(self, case: Case) -> None:
        source = self._server.url(f"{case.video}.mp4") if case.remote else ""
        right, expected = equal(case.video, case.step_s, case.workers, source)
        self.facts[case] = {"pictures": expected, "equal_by_hash": right}

    def round(self, case: Case, turn: int) -> None:
        ways = [way for way in case.ways if way not in self._missing and (turn == 0 or self._still_runs(case, way))]
        with tempfile.TemporaryDirectory() as folder:
            for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
                before = self._server.sent_bytes()
                used = self._run(case, way, Path(folder) / way)
                if case.remote:
                    used["received_mb"] = (self._server.sent_bytes() - before) / 1e6
                self.runs.setdefault((case, way), []).append(used)
            if turn == 0:
                ours = Path(folder) / OURS
                self.facts[case]["same"] = {way: alike(ours, Path(folder) / way) for way in ways}
                self.facts[case]["colour_error_levels"] = round(colour_error(case.video, ours, case.step_s), 2)

    def _run(self, case: Case, way: str, folder: Path) -> dict[str, float]:
        folder.mkdir()
        source = self._server.url(f"{case.video}.mp4") if case.remote else str(clip(case.video))
        arguments = [way, source, str(case.step_s), str(case.workers), str(folder)]
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.extract_peers", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *PEERS])},
            cwd=ROOT,
        )
        assert child.stdout is not None
        with child.stdout:
            said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"{case.name}: {way} ended with {child.returncode}")
        # Of the process and those that it waited for; of memory, the largest of them.
        cpu_s, peak_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_mb, "pictures": int(said)}

    def _still_runs(self, case: Case, way: str) -> bool:
        first = {other: self.runs[case, other][0] for other in case.ways if (case, other) in self.runs}
        best = {key: min(one[key] for other, one in first.items() if other != OURS) for key in _MEASURES[:2]}
        return way == OURS or any(first[way][key] < _FAR_BEHIND * least for key, least in best.items())

    def summary(self, case: Case) -> dict[str, Any]:
        runs = {way: self.runs[case, way] for way in case.ways if (case, way) in self.runs}
        ways = {
            way: {
                **{key: round(statistics.median(one[key] for one in several), 2) for key in several[0]},
                **{f"best_{key}": round(min(one[key] for one in several), 2) for key in _MEASURES[:2]},
                "rounds": len(several),
                "same": self.facts[case]["same"][way],
            }
            for way, several in runs.items()
        }
        ratios = {key: round(min(_ratio(runs, way, key) for way in runs if way != OURS), 2) for key in _MEASURES}
        least = {way: min(one["wall_s"] for one in several) for way, several in runs.items()}
        ratios["best_wall_s"] = round(min(took for way, took in least.items() if way != OURS) / least[OURS], 2)
        facts = {key: value for key, value in self.facts[case].items() if key != "same"}
        return {"case": case.name, **facts, "peer_by_ours": ratios, "ways": ways}


_MODULES = {
    "opencv": "cv2",
    "opencv seek": "cv2",
    "decord": "decord",
    "torchcodec": "torchcodec",
}


def _ratio(runs: dict[str, list[dict[str, float]]], way: str, key: str) -> float:
    """The peer's by ours, within the rounds that both ran in."""
    return statistics.median(
        theirs[key] / ours[key] for theirs, ours in zip(runs[way], runs[OURS][: len(runs[way])], strict=True)
    )


def report(one: dict[str, Any]) -> None:
    pictures = one["pictures"]
    print(f"\n{one['case']}")
    print(f"{'':16}{'wall s':>8}{'best':>8}{'CPU s':>8}{'best':>8}{'peak MB':>9}{'same':>10}{'rounds':>8}")
    for way, took in sorted(one["ways"].items(), key=lambda item: float(item[1]["wall_s"])):
        times = f"{took['wall_s']:8.2f}{took['best_wall_s']:8.2f}{took['cpu_s']:8.2f}{took['best_cpu_s']:8.2f}"
        same = f"{took['same']} of {pictures}"
        received = f"   received {took['received_mb']:.0f} MB" if "received_mb" in took else ""
        print(f"{way:16}{times}{took['peak_mb']:9.0f}{same:>10}{took['rounds']:8}{received}")
    ratios = one["peer_by_ours"]
    print(
        f"best peer / framemesh: wall {ratios['wall_s']} (best runs {ratios['best_wall_s']}), CPU {ratios['cpu_s']}, "
        f"memory {ratios['peak_mb']}; hashes equal: {one['equal_by_hash']} of {pictures}; "
        f"colours off by {one['colour_error_levels']} of 255",
        flush=True,
    )


def main() -> int:
    quick = "--quick" in sys.argv
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    cases = [case for case in CASES if not words or any(word in case.name for word in words)]
    sys.path += PEERS
    for video in {case.video for case in cases}:
        exhaustive(video)
    began = time.monotonic()
    loads: list[float] = []
    with contextlib.ExitStack() as closing:
        bench = Bench(closing.enter_context(served(CLIPS)))
        for case in cases:
            bench.prove(case)
        for turn in range(1 if quick else MAX_ROUNDS):
            started = time.monotonic()
            for case in cases:
                bench.round(case, turn)
                loads.append(os.getloadavg()[0])
            now = time.monotonic()
            print(f"round {turn + 1}: {now - started:.0f} s", flush=True)
            if turn + 1 >= MIN_ROUNDS and now - began + (now - started) > BUDGET_SECONDS:
                break
        results = [bench.summary(case) for case in cases]
    for one in results:
        report(one)
    if not quick and not words:
        about = {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load": [min(loads), max(loads)],
        }
        keep(RESULTS, {"about": about, "results": results})
    slow = [
        one["case"]
        for one in results
        if one["peer_by_ours"]["wall_s"] < REACH_WALL or one["peer_by_ours"]["cpu_s"] < REACH_CPU
    ]
    if slow:
        print(f"\nbelow {REACH_WALL} (wall) or {REACH_CPU} (CPU): {'; '.join(slow)}")
    wrong = [
        one["case"]
        for one in results
        if one["equal_by_hash"] != one["pictures"] or not right_colours(one["colour_error_levels"])
    ]
    if wrong:
        print(f"\nwrong pictures: {'; '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

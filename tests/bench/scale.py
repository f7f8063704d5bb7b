"""What one more costs: streams, outputs, viewers and jobs, from one to N of each, a line through CPU and memory.

`python -m tests.bench.scale`: a minute; prints a table and writes results/scale.json; `--quick` is shorter and writes
nothing. One mesh. Measured is the service that does the work with its children: CPU time by the kernel, which
other work on the machine makes a little longer and wall time would make much longer, and memory that is its own. The
slope is the cost of one more, the rest is there without any; `worst` is how far a point lies from the line.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.bench.dated import keep, machine
from tests.bench.egress import cpu_seconds
from tests.soak.load import Viewers
from tests.soak.looks import family, process_values
from tests.support.made_once import ffmpeg_once
from tests.support.mesh import RunningMesh

RESULTS = Path(__file__).parent / "results" / "scale.json"
_COUNTS, _QUICK_COUNTS = (1, 2, 4, 8), (1, 4)
_SECONDS, _QUICK_SECONDS = 3.0, 1.5
_SETTLE_SECONDS = 1.0
_WAIT_SECONDS = 20
_JOB_SECONDS = 60.0
_PICTURES_PER_JOB = 10
_POLL_SECONDS = 0.05
_CLIP = ("-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-t", "10", "-c:v", "libx264", "-preset", "veryfast",
         "-b:v", "4M", "-maxrate", "4M", "-bufsize", "2M", "-g", "50", "-pix_fmt", "yuv420p")  # fmt: skip


class Point(NamedTuple):
    """So many at once; of jobs, after one another."""

    number: int
    cpu: float
    """Percent of one core; of jobs, seconds in all."""
    memory_mib: float


class Kind(NamedTuple):
    what: str
    service: str
    add: Callable[[range], None]
    """So many more, of these numbers."""


@contextmanager
def rig() -> Iterator[tuple[RunningMesh, Path]]:
    """A mesh, and a clip of 720p25 with 4 Mbit/s that it may read."""
    source = ffmpeg_once("scale.mp4", *_CLIP)
    with tempfile.TemporaryDirectory(prefix="framemesh-scale-") as folder, RunningMesh(folder=Path(folder)) as mesh:
        clip = mesh.media_dir / "clip.mp4"
        clip.write_bytes(source.read_bytes())
        yield mesh, clip


class Costs:
    """Counts up each kind in one mesh."""

    def __init__(self, mesh: RunningMesh, clip: Path, counts: tuple[int, ...], seconds: float) -> None:
        self._mesh, self._clip, self._counts, self._seconds = mesh, clip, counts, seconds
        self._viewers: list[Viewers] = []

    def kinds(self) -> tuple[Kind, ...]:
        return (
            Kind("a stream that is passed on", "capture", self._stream),
            Kind("a recording", "publisher", self._output),
            Kind("a viewer", "webrtc-gateway", self._viewer),
        )

    def _stream(self, numbers: range) -> None:
        source = f"file://{self._clip}?loop=1"
        for number in numbers:
            self._mesh.call("capture.start", stream=f"cam{number}", source=source, wait_s=_WAIT_SECONDS)

    def _output(self, numbers: range) -> None:
        for number in numbers:
            about = {"stream": "cam0", "rendition": "source", "output": f"rec{number}"}
            to = f"file://rec{number}/{{start}}.mp4"
            self._mesh.call("publisher.start", **about, to=to, wait_s=_WAIT_SECONDS)

    def _viewer(self, numbers: range) -> None:
        several = Viewers(f"{self._mesh.console}whep/cam0/source", len(numbers))
        self._viewers.append(several)
        assert several.connected(), "viewers did not connect"

    def measure(self, kind: Kind) -> list[Point]:
        pid = self._mesh.pids()[kind.service]
        points, there = [], 0
        for count in self._counts:
            kind.add(range(there, count))
            there = count
            time.sleep(_SETTLE_SECONDS)
            cpu, began = running_seconds(pid), time.monotonic()
            time.sleep(self._seconds)
            used = running_seconds(pid) - cpu
            elapsed = time.monotonic() - began
            points.append(Point(count, 100 * used / elapsed, process_values(pid)["memory"]))
        return points

    def jobs(self) -> list[Point]:
        """Pictures out of the clip: so many jobs, all submitted at once."""
        pid = self._mesh.pids()["frame-extractor"]
        points = []
        self._run_jobs(1, "warm")
        for count in self._counts:
            before = ended_seconds(pid)
            self._run_jobs(count, str(count))
            points.append(Point(count, ended_seconds(pid) - before, process_values(pid)["memory"]))
        return points

    def _run_jobs(self, count: int, name: str) -> None:
        sampling = {"mode": "interval", "interval_s": 10 / _PICTURES_PER_JOB}
        jobs = [
            self._mesh.call(
                "frame-extractor.submit",
                video=f"file://{self._clip}",
                to=f"file://{self._mesh.folder}/data/pictures/{name}-{number}/{{index}}.{{autoext}}",
                sampling=sampling,
            )["job"]
            for number in range(count)
        ]
        for job in jobs:
            ended = lambda job=job: self._state(job) in ("completed", "failed")  # noqa: E731
            self._mesh.wait_for(ended, _JOB_SECONDS, f"the end of {job}")
            assert self._state(job) == "completed", job

    def _state(self, job: str) -> str:
        return str(self._mesh.call("frame-extractor.poll", job=job, frames=False)["job"]["state"])

    def leave(self) -> None:
        received = [several.packets() for several in self._viewers]
        for several in self._viewers:
            several.leave()
        assert all(packets > 0 for packets in received), f"viewers that got nothing cost nothing: {received}"


def running_seconds(pid: int) -> float:
    """Of a process and those below it that run, to the nanosecond: a viewer takes a quarter of a percent."""
    spent = 0.0
    for one in family(pid):
        with suppress(OSError):  # it has ended between two looks
            spent += cpu_seconds(one)
    return spent


def ended_seconds(pid: int) -> float:
    """The same in hundredths of a second, those that have ended and were waited for too: each job has a process."""
    ticks = 0
    for one in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            # 14 to 17 of proc(5): its own, and those of children that were waited for.
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def fit(points: list[Point]) -> dict[str, Any]:
    """Lines through CPU and memory over how many there are."""
    counts = np.array([point.number for point in points], np.float64)
    found: dict[str, Any] = {}
    for name in ("cpu", "memory_mib"):
        values = np.array([getattr(point, name) for point in points])
        slope, base = np.polyfit(counts, values, 1)
        found[name] = {
            "each": round(float(slope), 3),
            "without": round(float(base), 3),
            "worst": round(float(np.abs(values - slope * counts - base).max()), 3),
        }
    return found


def main() -> int:
    quick = "--quick" in sys.argv
    load_before = os.getloadavg()[0]
    found: dict[str, Any] = {}
    with rig() as (mesh, clip):
        costs = Costs(mesh, clip, _QUICK_COUNTS if quick else _COUNTS, _QUICK_SECONDS if quick else _SECONDS)
        try:
            rows = [(kind.what, kind.service, "percent of a core", costs.measure(kind)) for kind in costs.kinds()]
        finally:
            costs.leave()
        pictures = f"a job of {_PICTURES_PER_JOB} pictures"
        rows.append((pictures, "frame-extractor", "seconds", costs.jobs()))
    print(f"{'one more':30}{'of':18}{'CPU':>8}{'':20}{'without':>9}{'MiB':>8}{'without':>9}")
    for what, service, unit, points in rows:
        line = fit(points)
        found[what] = {
            "service": service, "cpu_unit": unit, **line, "points": [point._asdict() for point in points]
        }  # fmt: skip
        cpu, memory = line["cpu"], line["memory_mib"]
        print(
            f"{what:30}{service:18}{cpu['each']:8.2f} {unit:19}{cpu['without']:9.2f}"
            f"{memory['each']:8.2f}{memory['without']:9.1f}"
        )
    if quick:
        return 0
    clip_is = "720p25 H.264, 4 Mbit/s, from a file that is looped"
    keep(RESULTS, {"what": "what one more costs the service that has it", "clip": clip_is,
                   "machine": machine(load_before), "kinds": found})  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

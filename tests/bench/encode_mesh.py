"""Encoding through the mesh next to the ffmpeg command line: the same raw 1080p pictures, the same x264 settings.

`python -m tests.bench.encode_mesh` prints a table with ratios and writes results/encode_mesh.json; `--quick` is
shorter and writes nothing. Three ways, interleaved round by round: an application publishes losslessly and hw-encode
encodes from the ring (`mesh`); ffmpeg reads the raw pictures from a file in shared memory (`ffmpeg`); PyAV encodes
them in one process without any mesh (`pyav`: its x264 is another build than ffmpeg's, this tells the two apart).
"""

import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from schemas.frames import FrameRef
from schemas.resources import RenditionSpec
from services.hw_encode.encoders import ENCODERS, TIME_BASE, open_encoder
from shared.clients.mesh import AsyncMesh
from shared.media.frames import picture_frame
from tests.support.mesh import RunningMesh, bunny

RESULTS = Path(__file__).parent / "results" / "encode_mesh.json"
WIDTH, HEIGHT, FPS = 1920, 1080, 30
KEY_INTERVAL_FRAMES = 60  # the rendition's 2 s
PRESETS = ("ultrafast", "veryfast")
ROUNDS, QUICK_ROUNDS = 5, 1
LOOPS = 2  # of the clip per run: 264 pictures, 1.5 to 4 s
WARM_UP_FRAMES = 15
GOAL = 0.97

Pictures = NDArray[np.uint8]


def raw_clip(path: Path) -> Pictures:
    """The real clip, scaled to 1080p I420, in a file; mapped, shape (pictures, 1620, 1920)."""
    with av.open(str(bunny())) as container, path.open("wb") as file:
        for frame in container.decode(video=0):
            file.write(frame.reformat(WIDTH, HEIGHT, "yuv420p", interpolation="BICUBIC").to_ndarray().tobytes())
    return np.memmap(path, np.uint8, "r").reshape(-1, HEIGHT * 3 // 2, WIDTH)


# -- the three ways: frames per second and CPU seconds of one run ----------------------------------------------


class MeshWay:
    """Through a published stream and hw-encode."""

    def __init__(self, mesh: RunningMesh, app: AsyncMesh, preset: str, pictures: Pictures) -> None:
        self.mesh, self.app, self.preset, self.pictures = mesh, app, preset, pictures

    async def run(self) -> tuple[float, float]:
        name = f"bench-{self.preset}"
        async with self.app.publish(
            name, width=WIDTH, height=HEIGHT, pixel_format="yuv420p", fps=FPS, delivery="lossless", deadline_seconds=30
        ) as stream:
            await self.app.start_rendition(name, preset=self.preset, bitrate="4M", encoder="software", always=True)
            for picture in self.pictures[:WARM_UP_FRAMES]:
                await stream.write(picture)
            assert await stream.drain(30)
            cpu, started = self._cpu_seconds(), time.perf_counter()
            for _ in range(LOOPS):
                for picture in self.pictures:
                    await stream.write(picture)
            assert await stream.drain(30)
            seconds = time.perf_counter() - started
            cpu = self._cpu_seconds() - cpu
            assert stream.counts.failed == 0, stream.counts.last_failure
            assert stream.counts.written == WARM_UP_FRAMES + LOOPS * len(self.pictures)
        await self.app.stop_rendition(name)
        return LOOPS * len(self.pictures) / seconds, cpu

    def _cpu_seconds(self) -> float:
        ticks = 0
        for pid in (*self.mesh.pids().values(), os.getpid()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime, stime: proc(5)
        return ticks / os.sysconf("SC_CLK_TCK")


class FfmpegWay:
    """The command line, told all that hw-encode tells x264."""

    def __init__(self, path: Path, count: int, preset: str) -> None:
        self.path, self.count, self.preset = path, count, preset

    async def run(self) -> tuple[float, float]:
        start_seconds, start_cpu = await asyncio.to_thread(self._once, 1)  # opening the encoder is not measured
        frames = LOOPS * self.count
        seconds, cpu = await asyncio.to_thread(self._once, frames)
        return (frames - 1) / (seconds - start_seconds), cpu - start_cpu

    def _once(self, frames: int) -> tuple[float, float]:
        command = [
            *("ffmpeg", "-hide_banner", "-benchmark", "-nostdin", "-stream_loop", str(LOOPS - 1)),
            *("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", str(self.path)),
            *("-frames:v", str(frames), "-c:v", "libx264", "-preset", self.preset, "-tune", "zerolatency"),
            *("-profile:v", "baseline", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "2M", "-bf", "0"),
            *("-g", str(KEY_INTERVAL_FRAMES), "-forced-idr", "1", "-x264-params", "scenecut=0:repeat-headers=1"),
            *("-f", "h264", "-y", "/dev/null"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found = re.search(r"bench: utime=([\d.]+)s stime=([\d.]+)s rtime=([\d.]+)s", done.stderr)
        assert found is not None
        assert re.findall(r"frame= *(\d+)", done.stderr)[-1] == str(frames)
        return float(found[3]), float(found[1]) + float(found[2])


class PyavWay:
    """PyAV alone, in this process."""

    def __init__(self, preset: str, pictures: Pictures) -> None:
        self.preset, self.pictures = preset, pictures

    async def run(self) -> tuple[float, float]:
        return await asyncio.to_thread(self._run)

    def _run(self) -> tuple[float, float]:
        kind = next(kind for kind in ENCODERS if kind.name == "libx264")
        spec = RenditionSpec(stream="bench", preset=self.preset, bitrate="4M")  # type: ignore[arg-type]
        encoder = open_encoder(kind, spec, WIDTH, HEIGHT, FPS)
        ref = FrameRef(
            stream="bench", node="n", epoch=1, sequence=1, ring="r", slot=0, pixel_format="yuv420p", width=WIDTH,
            height=HEIGHT, pts_ns=0, captured_ns=0, monotonic_ns=0,
        )  # fmt: skip
        started = cpu = 0.0
        for number in range(-WARM_UP_FRAMES, LOOPS * len(self.pictures)):
            if number == 0:
                started, cpu = time.perf_counter(), time.process_time()
            picture = picture_frame(self.pictures[number % len(self.pictures)], ref, copy=False)
            picture.pts = (number + WARM_UP_FRAMES) * TIME_BASE.denominator // FPS
            picture.time_base = TIME_BASE
            if number % KEY_INTERVAL_FRAMES == 0:
                picture.pict_type = av.video.frame.PictureType.I
            for packet in encoder.encode(picture):
                bytes(packet)
        return LOOPS * len(self.pictures) / (time.perf_counter() - started), time.process_time() - cpu


# -- the run ---------------------------------------------------------------------------------------------------


async def measure(folder: Path, rounds: int) -> dict[str, Any]:
    path = folder / "clip.yuv"
    pictures = raw_clip(path)
    results: dict[str, Any] = {}
    with RunningMesh() as mesh:
        async with AsyncMesh.connect(mesh.ready["nats"], node="test", shm_dir=mesh.shm_dir, name="bench") as app:
            for preset in PRESETS:
                ways: dict[str, Callable[[], Awaitable[tuple[float, float]]]] = {
                    "ffmpeg": FfmpegWay(path, len(pictures), preset).run,
                    "mesh": MeshWay(mesh, app, preset, pictures).run,
                    "pyav": PyavWay(preset, pictures).run,
                }
                runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
                for number in range(rounds):
                    order = list(ways) if number % 2 == 0 else list(reversed(ways))
                    for name in order:
                        runs[name].append(await ways[name]())
                results[preset] = _summary(runs)
    return results


def _summary(runs: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    fps = {name: statistics.median(run[0] for run in found) for name, found in runs.items()}
    # Runs of one round stand next to each other in time, so their ratio hardly feels the machine's other work.
    paired = [mesh[0] / ffmpeg[0] for mesh, ffmpeg in zip(runs["mesh"], runs["ffmpeg"], strict=True)]
    return {
        "fps": {name: round(value, 1) for name, value in fps.items()},
        "cpu_seconds": {name: round(statistics.median(run[1] for run in found), 2) for name, found in runs.items()},
        "ratio_of_medians": round(fps["mesh"] / fps["ffmpeg"], 3),
        "median_of_ratios": round(statistics.median(paired), 3),
        "ratio_to_pyav": round(fps["mesh"] / fps["pyav"], 3),
        "runs_fps": {name: [round(run[0], 1) for run in found] for name, found in runs.items()},
    }


def main() -> None:
    quick = "--quick" in sys.argv
    load_before = os.getloadavg()[0]  # other work on the machine takes from each run differently: judge by it
    folder = Path(tempfile.mkdtemp(prefix="encode-bench-", dir="/dev/shm"))
    try:
        results = asyncio.run(measure(folder, QUICK_ROUNDS if quick else ROUNDS))
    finally:
        shutil.rmtree(folder)
    print(f"{'preset':12}{'ffmpeg':>9}{'mesh':>9}{'pyav':>9}{'mesh/ffmpeg':>13}{'by round':>10}{'mesh/pyav':>11}")
    for preset, found in results.items():
        fps = found["fps"]
        print(
            f"{preset:12}{fps['ffmpeg']:9.1f}{fps['mesh']:9.1f}{fps['pyav']:9.1f}{found['ratio_of_medians']:13.3f}"
            f"{found['median_of_ratios']:10.3f}{found['ratio_to_pyav']:11.3f}"
        )
    if quick:
        return
    machine: dict[str, Any] = {"load_before": load_before, "load_after": os.getloadavg()[0]}
    machine |= {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    report = {"what": "1080p I420 to H.264 4 Mbit/s, frames/s", "goal": GOAL, "machine": machine, "results": results}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

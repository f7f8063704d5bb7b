"""Encoding through the mesh next to the ffmpeg command line: the same raw pictures, the same x264 and x265 settings.

`python -m tests.bench.encode_mesh` prints a table with ratios and writes results/encode_mesh.json; `--quick` is
shorter and writes nothing. Three ways, interleaved round by round: an application publishes losslessly and hw-encode
encodes from the ring (`mesh`); ffmpeg reads the raw pictures from a file in shared memory (`ffmpeg`); PyAV encodes
them in one process without any mesh (`pyav`: its encoders are other builds than ffmpeg's, this tells the two apart).
CPU is that of every process of the mesh and of the application, per picture. Memory is what hw-encode holds more of
while the rendition runs, its shared memory included.
"""

import asyncio
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from schemas.frames import FrameRef
from schemas.resources import RenditionSpec
from services.hw_encode.kinds import ENCODERS
from services.hw_encode.libav_codec import TIME_BASE, open_encoder
from shared.clients.mesh import AsyncMesh
from shared.media.frames import picture_frame
from tests.bench.dated import keep
from tests.support.mesh import RunningMesh, bunny

RESULTS = Path(__file__).parent / "results" / "encode_mesh.json"
FPS = 30
KEY_INTERVAL_FRAMES = 60  # the rendition's 2 s
ROUNDS, QUICK_ROUNDS = 15, 1
LOOPS = 2  # of the clip per run: 264 pictures, 1.5 to 4 s
WARM_UP_FRAMES = 15
FPS_GOAL, CPU_GOAL = 0.97, 1.05

Pictures = NDArray[np.uint8]
Run = tuple[float, float]
"""Pictures per second, and CPU seconds."""


@dataclass(frozen=True)
class Case:
    """What is encoded, and how."""

    codec: Literal["h264", "hevc"]
    preset: Literal["ultrafast", "veryfast"]
    width: int
    height: int
    bitrate: str

    @property
    def name(self) -> str:
        return f"{self.encoder}-{self.preset}-{self.height}p"

    @property
    def encoder(self) -> str:
        return "libx264" if self.codec == "h264" else "libx265"

    @property
    def options(self) -> list[str]:
        """ffmpeg's, equal to those in services/hw_encode/kinds.py."""
        rate = int(self.bitrate.removesuffix("M"))
        options = [
            *("-c:v", self.encoder, "-preset", self.preset, "-tune", "zerolatency", "-bf", "0"),
            *("-b:v", f"{rate}M", "-maxrate", f"{rate}M", "-bufsize", f"{rate * 500}k"),
            *("-g", str(KEY_INTERVAL_FRAMES), "-forced-idr", "1"),
        ]
        if self.codec == "h264":
            return [*options, "-profile:v", "baseline", "-x264-params", "scenecut=0:repeat-headers=1"]
        return [*options, "-x265-params", "scenecut=0:repeat-headers=1:frame-threads=1:bframes=0:log-level=error"]


CASES = (
    Case("h264", "ultrafast", 1920, 1080, "4M"),
    Case("h264", "veryfast", 1920, 1080, "4M"),
    Case("hevc", "veryfast", 1280, 720, "2M"),
)


def raw_clip(path: Path, width: int, height: int) -> Pictures:
    """The real clip, scaled, as I420 in a file; mapped, shape (pictures, height * 3 / 2, width)."""
    with av.open(str(bunny())) as container, path.open("wb") as file:
        for frame in container.decode(video=0):
            file.write(frame.reformat(width, height, "yuv420p", interpolation="BICUBIC").to_ndarray().tobytes())
    return np.memmap(path, np.uint8, "r").reshape(-1, height * 3 // 2, width)


# -- the three ways: frames per second and CPU seconds of one run ----------------------------------------------


class MeshWay:
    """Through a published stream and hw-encode."""

    def __init__(self, mesh: RunningMesh, app: AsyncMesh, case: Case, pictures: Pictures) -> None:
        self.mesh, self.app, self.case, self.pictures = mesh, app, case, pictures
        self.memory_bytes = 0

    async def run(self) -> Run:
        name, case = f"bench-{self.case.name}", self.case
        shape = {"width": case.width, "height": case.height}
        async with self.app.publish(
            name, **shape, pixel_format="yuv420p", fps=FPS, delivery="lossless", deadline_seconds=30
        ) as stream:
            before = self._encoder_bytes()
            wish = {"codec": case.codec, "preset": case.preset, "bitrate": case.bitrate}
            await self.app.start_rendition(name, **wish, encoder="software", always=True)
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
            self.memory_bytes = max(self.memory_bytes, self._encoder_bytes() - before)
            assert stream.counts.failed == 0, stream.counts.last_failure
            assert stream.counts.written == WARM_UP_FRAMES + LOOPS * len(self.pictures)
        await self.app.stop_rendition(name)
        return LOOPS * len(self.pictures) / seconds, cpu

    def _encoder_bytes(self) -> int:
        """Memory of hw-encode, without the frame rings that it maps (capture's, or the application's)."""
        lines = Path(f"/proc/{self.mesh.pids()['hw-encode']}/status").read_text().splitlines()
        kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "RssFile"))}
        rings = sum(path.stat().st_blocks * 512 for path in self.mesh.shm_dir.glob("**/*") if "packets" in path.name)
        return sum(int(value) for value in kilobytes.values()) * 1024 + rings

    def _cpu_seconds(self) -> float:
        ticks = 0
        for pid in (*self.mesh.pids().values(), os.getpid()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime, stime: proc(5)
        return ticks / os.sysconf("SC_CLK_TCK")


class FfmpegWay:
    """The command line, told all that hw-encode tells x264."""

    def __init__(self, path: Path, count: int, case: Case) -> None:
        self.path, self.count, self.case = path, count, case

    async def run(self) -> Run:
        start_seconds, start_cpu = await asyncio.to_thread(self._once, 1)  # opening the encoder is not measured
        frames = LOOPS * self.count
        seconds, cpu = await asyncio.to_thread(self._once, frames)
        return (frames - 1) / (seconds - start_seconds), cpu - start_cpu

    def _once(self, frames: int) -> Run:
        command = [
            *("ffmpeg", "-hide_banner", "-benchmark", "-nostdin", "-stream_loop", str(LOOPS - 1)),
            *(
                "-f",
                "rawvideo",
                "-pix_fmt",
                "yuv420p",
                "-s",
                f"{self.case.width}x{self.case.height}",
                "-r",
                str(FPS),
                "-i",
                str(self.path),
            ),
            *("-frames:v", str(frames), *self.case.options, "-f", self.case.codec, "-y", "/dev/null"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found = re.search(r"bench: utime=([\d.]+)s stime=([\d.]+)s rtime=([\d.]+)s", done.stderr)
        assert found is not None
        assert re.findall(r"frame= *(\d+)", done.stderr)[-1] == str(frames)
        return float(found[3]), float(found[1]) + float(found[2])


class PyavWay:
    """PyAV alone, in this process."""

    def __init__(self, case: Case, pictures: Pictures) -> None:
        self.case, self.pictures = case, pictures

    async def run(self) -> Run:
        return await asyncio.to_thread(self._run)

    def _run(self) -> Run:
        case = self.case
        kind = next(kind for kind in ENCODERS if kind.name == case.encoder)
        spec = RenditionSpec(stream="bench", codec=case.codec, preset=case.preset, bitrate=case.bitrate)
        encoder = open_encoder(kind, spec, case.width, case.height, FPS)
        ref = FrameRef(
            stream="bench", node="n", epoch=1, sequence=1, ring="r", slot=0, pixel_format="yuv420p", width=case.width,
            height=case.height, pts_ns=0, captured_ns=0, monotonic_ns=0,
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
    results: dict[str, Any] = {}
    with RunningMesh() as mesh:
        async with AsyncMesh.connect(mesh.ready["nats"], node="test", shm_dir=mesh.shm_dir, name="bench") as app:
            for case in CASES:
                path = folder / f"{case.height}.yuv"
                pictures = raw_clip(path, case.width, case.height)
                through_mesh = MeshWay(mesh, app, case, pictures)
                ways: dict[str, Callable[[], Awaitable[Run]]] = {
                    "ffmpeg": FfmpegWay(path, len(pictures), case).run,
                    "mesh": through_mesh.run,
                    "pyav": PyavWay(case, pictures).run,
                }
                runs: dict[str, list[Run]] = {name: [] for name in ways}
                for number in range(rounds):
                    order = list(ways) if number % 2 == 0 else list(reversed(ways))
                    for name in order:
                        runs[name].append(await ways[name]())
                memory = round(through_mesh.memory_bytes / 1e6, 1)
                results[case.name] = {**_summary(runs, LOOPS * len(pictures)), "rendition_megabytes": memory}
                path.unlink()
    return results


def _summary(runs: dict[str, list[Run]], pictures: int) -> dict[str, Any]:
    # Runs of one round stand next to each other in time, so their ratio hardly feels the machine's other work.
    pairs = list(zip(runs["mesh"], runs["ffmpeg"], strict=True))
    return {
        "fps": {name: round(statistics.median(run[0] for run in found), 1) for name, found in runs.items()},
        "cpu_ms_per_picture": {
            name: round(statistics.median(run[1] for run in found) / pictures * 1000, 3) for name, found in runs.items()
        },
        "pairs": len(pairs),
        "fps_ratio": round(statistics.median(mesh[0] / ffmpeg[0] for mesh, ffmpeg in pairs), 3),
        "cpu_ratio": round(statistics.median(mesh[1] / ffmpeg[1] for mesh, ffmpeg in pairs), 3),
        "fps_ratio_to_pyav": round(
            statistics.median(mesh[0] / alone[0] for mesh, alone in zip(runs["mesh"], runs["pyav"], strict=True)), 3
        ),
        "runs_fps": {name: [round(run[0], 1) for run in found] for name, found in runs.items()},
    }


def versions() -> dict[str, str]:
    """Of ffmpeg, PyAV's libav, and the x264 and x265 of both, as their streams tell."""
    banner = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    found = {"ffmpeg": banner.split()[2], "pyav": av.__version__, "pyav libavcodec": _dotted("libavcodec")}
    for case in (CASES[0], CASES[-1]):
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=s=64x64:d=0.1", "-c:v", case.encoder]
        stream = subprocess.run([*command, "-f", case.codec, "-"], capture_output=True, check=True).stdout
        found[f"ffmpeg {case.encoder}"] = _signature(stream)
        context = av.CodecContext.create(case.encoder, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt, context.time_base = 64, 64, "yuv420p", TIME_BASE
        packets = [*context.encode(av.VideoFrame(64, 64, "yuv420p")), *context.encode(None)]
        found[f"pyav {case.encoder}"] = _signature(b"".join(map(bytes, packets)))
    return found


def _dotted(library: str) -> str:
    return ".".join(map(str, av.library_versions[library]))


def _signature(stream: bytes) -> str:
    """What the encoder writes of itself into the first picture."""
    found = re.search(rb"x26[45] (?:- core |\(build )(\d+)\)? ?(?:r?- ?)?([^\s]*)", stream)
    return b" ".join(found.groups()).decode(errors="replace") if found else "does not tell"


def main() -> None:
    quick = "--quick" in sys.argv
    load_before = os.getloadavg()[0]  # other work on the machine takes from each run differently: judge by it
    folder = Path(tempfile.mkdtemp(prefix="encode-bench-", dir="/dev/shm"))
    try:
        results = asyncio.run(measure(folder, QUICK_ROUNDS if quick else ROUNDS))
    finally:
        shutil.rmtree(folder)
    known = versions()
    print("; ".join(f"{name} {version}" for name, version in known.items()))
    columns = ("ffmpeg/s", "mesh/s", "pyav/s", "fps ratio", "CPU ratio", "of pyav", "MB")
    print(f"{'case':26}" + "".join(f"{column:>11}" for column in columns))
    for name, found in results.items():
        fps = found["fps"]
        print(
            f"{name:26}{fps['ffmpeg']:11.1f}{fps['mesh']:11.1f}{fps['pyav']:11.1f}{found['fps_ratio']:11.3f}"
            f"{found['cpu_ratio']:11.3f}{found['fps_ratio_to_pyav']:11.3f}{found['rendition_megabytes']:11.1f}"
        )
    if quick:
        return
    machine: dict[str, Any] = {"load_before": load_before, "load_after": os.getloadavg()[0]}
    machine |= {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    report = {
        "what": "raw pictures to packets, medians of the ratios of neighbouring runs",
        "goal": {"fps_ratio": FPS_GOAL, "cpu_ratio": CPU_GOAL},
        "machine": machine,
        "versions": known,
        "results": results,
    }
    keep(RESULTS, report)


if __name__ == "__main__":
    main()

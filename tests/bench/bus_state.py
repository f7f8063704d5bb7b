"""What state costs: a change with one copy and with three, and thousands of streams to those who watch them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from schemas.errors import MeshError
from schemas.resources import RenditionActual, StreamActual, StreamSpec, VideoInfo
from schemas.subjects import ACTUAL_BUCKET, DESIRED_BUCKET, state_key
from shared.bus import Bus
from shared.desired import Desired
from shared.state import StateMirrors
from shared.status import mesh_status
from tests.bench.bus_packets import cpu_seconds

CHANGES = 300
_WATCHER_SECONDS = 60
NODES = 100  # that the streams are spread over


async def change_ms(url: str, replicas: int) -> dict[str, float]:
    """Medians and 99th percentiles of what a service does to take a command."""
    bus = await Bus.connect(url, name="bench", timeout_seconds=10, replicas=replicas)
    bucket = await bus.bucket(DESIRED_BUCKET)
    value = _spec(0)
    revision = await bucket.put("capture.bench", value)
    found: dict[str, float] = {}

    async def update() -> None:
        nonlocal revision
        revision = await bucket.update("capture.bench", value, revision)

    async def newest() -> None:
        await bucket.newest("capture.bench")

    async def put() -> None:
        await bucket.put("capture.other", value)

    for name, attempt in (("put", put), ("update", update), ("read", newest)):
        found |= {f"{name}_{key}": value for key, value in (await _timed(attempt)).items()}
    await bus.drain()
    return found


async def no_op_ms(url: str, subject: str, request: dict[str, Any]) -> dict[str, float]:
    """A command that changes nothing, asked again and again."""
    bus = await Bus.connect(url, name="bench", timeout_seconds=10)
    data = msgspec.json.encode(request)

    async def ask() -> None:
        await bus.request_raw(subject, data)

    try:
        return await _timed(ask)
    finally:
        await bus.drain()


async def _timed(attempt: Callable[[], Awaitable[None]]) -> dict[str, float]:
    took = []
    for _ in range(CHANGES):
        began = time.perf_counter()
        await attempt()
        took.append(1e3 * (time.perf_counter() - began))
    return {"p50_ms": round(float(np.median(took)), 3), "p99_ms": round(float(np.percentile(took, 99)), 3)}


def _spec(number: int) -> bytes:
    return msgspec.json.encode(
        StreamSpec(
            stream=f"cam-{number:05}",
            source=f"rtsp://10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:554/Streaming/Channels/101",
            source_secret=f"secret://capture.cam-{number:05}@{number}",
            node=f"edge-{number % NODES:03}",
        )
    )


def _actual(number: int) -> bytes:
    return msgspec.json.encode(
        StreamActual(
            stream=f"cam-{number:05}",
            node=f"edge-{number % NODES:03}",
            revision=number + 1,
            state="live",
            source=f"rtsp://10.0.{number >> 8 & 255}.{number & 255}:554/Streaming/Channels/101",
            since_ns=time.time_ns(),
            epoch=time.time_ns() // 1_000_000,
            video=VideoInfo(codec="h264", width=1920, height=1080, fps=25.0, pixel_format="yuv420p"),
        )
    )


def _rendition(number: int) -> bytes:
    return msgspec.json.encode(
        RenditionActual(
            stream=f"cam-{number:05}",
            rendition="main",
            node=f"edge-{number % NODES:03}",
            revision=0,
            state="idle",
            since_ns=time.time_ns(),
        )
    )


async def fill(url: str, streams: int) -> dict[str, float]:
    """Three records of each stream: what is asked for, what is, and the rendition that is there on demand."""
    bus = await Bus.connect(url, name="fill", timeout_seconds=10)
    desired, actual = await bus.bucket(DESIRED_BUCKET), await bus.bucket(ACTUAL_BUCKET)
    began = time.monotonic()
    records = []
    for number in range(streams):
        stream = f"cam-{number:05}"
        records += [
            (desired, state_key("capture", stream), _spec(number)),
            (actual, state_key("capture", stream), _actual(number)),
            (actual, state_key("hw-encode", f"{stream}--main"), _rendition(number)),
        ]
    for at in range(0, len(records), 200):
        await asyncio.gather(*(bucket.put(key, value) for bucket, key, value in records[at : at + 200]))
    seconds = time.monotonic() - began
    await bus.drain()
    return {
        "records": len(records),
        "bytes_each": round(sum(len(key) + len(value) for _, key, value in records) / len(records), 1),
        "writes_per_second": round(len(records) / seconds),
    }


async def watcher(url: str) -> dict[str, float]:
    """One that watches everything, as each service does; run in a process of its own."""
    bus = await Bus.connect(url, name="watcher", timeout_seconds=10)
    resident = _resident_mib()
    cpu, began = time.process_time(), time.monotonic()
    mirrors = await StateMirrors.open(bus)
    found = {
        "copy_seconds": round(time.monotonic() - began, 2),
        "copy_cpu_seconds": round(time.process_time() - cpu, 2),
        "copy_mib": round(_resident_mib() - resident, 1),
    }
    streams = Desired("capture", StreamSpec, StreamActual, mirrors)
    streams.owned("edge-001")
    began = time.perf_counter()
    for _ in range(5):
        streams.owned("edge-001")
    found["owned_ms"] = round(200 * (time.perf_counter() - began), 2)
    mesh_status(mirrors)
    began = time.perf_counter()
    status = mesh_status(mirrors)
    found["status_ms"] = round(1e3 * (time.perf_counter() - began), 1)
    began = time.perf_counter()
    text = msgspec.json.encode(status)
    found |= {
        "status_json_ms": round(1e3 * (time.perf_counter() - began), 1),
        "status_json_mib": round(len(text) / (1 << 20), 2),
    }
    cpu, wall = time.process_time(), time.monotonic()
    bucket = await bus.bucket(ACTUAL_BUCKET)
    for number in range(200):
        await bucket.put(state_key("capture", f"cam-{number:05}"), _actual(number))
    await asyncio.sleep(0.1)
    found["ms_per_change"] = round(1e3 * (time.process_time() - cpu) / 200, 3)
    assert time.monotonic() - wall > 0
    await mirrors.close()
    await bus.drain()
    return found


def run_watcher(url: str, server_pid: int, count: int) -> dict[str, Any]:
    """So many at once, as after a restart of the server; the medians of what they say, and the server's CPU."""
    before = cpu_seconds(server_pid)
    command = [sys.executable, "-m", "tests.bench.bus_state", url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        said = [msgspec.json.decode(process.communicate(timeout=_WATCHER_SECONDS)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not any("error" in one for one in said), said
    found = {key: round(float(np.median([one[key] for one in said])), 3) for key in said[0]}
    return {"watchers": count, **found, "server_cpu_seconds": round(cpu_seconds(server_pid) - before, 2)}


def _resident_mib() -> float:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    try:
        said: dict[str, Any] = asyncio.run(watcher(sys.argv[1]))
    except MeshError as error:
        said = {"error": error.message}
    print(msgspec.json.encode(said).decode())

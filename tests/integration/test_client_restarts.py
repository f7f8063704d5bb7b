"""An application goes on while what it depends on is killed."""

import asyncio
import itertools
import os
import signal
import time

import numpy as np
import pytest

from tests.support.client import async_client
from tests.support.mesh import RunningMesh
from tests.support.pace import slowness

pytestmark = [pytest.mark.alone, pytest.mark.integration, pytest.mark.chaos]

_BACK_SECONDS = 2.0 * slowness()  # DESIGN: a stream is back within this after any kill -9
_NEVER_BLOCKS_SECONDS = 0.25  # a copy of 48 x 64 bytes takes microseconds; the rest is the machine's other work


def _kill(mesh: RunningMesh, service: str) -> None:
    # The kernel's list of children may miss one while another of them ends: look again.
    os.kill(mesh.wait_for(lambda: mesh.pids().get(service), what=f"process {service}"), signal.SIGKILL)


def _longest_gap(times: list[float]) -> float:
    return max(after - before for before, after in itertools.pairwise(times))


async def test_pictures_go_on_after_capture_was_killed():
    with RunningMesh("--demo") as mesh:
        mesh.wait_for(lambda: mesh.actual("streams", "demo"), what="the demo stream")
        times: list[float] = []
        async with async_client(mesh) as app, app.frames("demo", timeout_seconds=10) as frames:
            async for _frame in frames:
                times.append(time.monotonic())
                if len(times) == 15:
                    await asyncio.to_thread(_kill, mesh, "capture")
                if len(times) > 15 and frames.counts.epochs == 2 and frames.counts.delivered > 40:
                    break
        assert _longest_gap(times) < _BACK_SECONDS


async def test_live_writing_never_blocks_while_the_bus_is_killed_and_readers_go_on():
    with RunningMesh() as mesh:
        async with (
            async_client(mesh) as app,
            app.publish("live", width=64, height=48, pixel_format="gray", fps=50) as stream,
            async_client(mesh) as reader,
        ):
            seen: list[tuple[float, int]] = []

            async def read() -> None:
                async for frame in reader.frames("live"):
                    seen.append((time.monotonic(), int(frame.array[0, 0])))  # noqa: PERF401  # read while it grows

            reading = asyncio.create_task(read())
            longest = 0.0
            killing: asyncio.Future[None] | None = None
            killed_at, number = 0.0, 0
            while not killed_at or time.monotonic() - killed_at < 3.0:
                number += 1
                before = time.monotonic()
                await stream.write(np.full((48, 64), number % 256, np.uint8))
                longest = max(longest, time.monotonic() - before)
                if number == 50:
                    killing = asyncio.ensure_future(asyncio.to_thread(_kill, mesh, "nats-server"))
                    killed_at = time.monotonic()
                await asyncio.sleep(0.02)
            assert killing is not None
            await killing
            reading.cancel()
            assert longest < _NEVER_BLOCKS_SECONDS
            assert stream.counts.written == number
            after = [at for at, _ in seen if at > killed_at + 0.05]
            assert after, "no picture after the bus was killed"
            assert _longest_gap([at for at, _ in seen]) < _BACK_SECONDS
            assert seen[-1][1] >= (number - 3) % 256


async def test_lossless_stays_lossless_while_the_bus_is_killed():
    count = 300
    with RunningMesh() as mesh:
        async with (
            async_client(mesh) as app,
            app.publish(
                "job",
                width=64,
                height=48,
                pixel_format="gray",
                delivery="lossless",
                consumer="worker",
                deadline_seconds=15,
            ) as stream,
            async_client(mesh, name="worker") as worker,
        ):
            seen: list[tuple[int, int]] = []

            async def consume() -> None:
                async for frame in worker.frames("job", consumer="worker"):
                    seen.append((frame.ref.sequence, int(frame.array[0, 0])))
                    await asyncio.sleep(0.002)

            consuming = asyncio.create_task(consume())
            for number in range(1, count + 1):
                await stream.write(np.full((48, 64), number % 256, np.uint8))
                if number == 100:
                    await asyncio.to_thread(_kill, mesh, "nats-server")
            assert await stream.drain(15)
            consuming.cancel()
            assert seen == [(number, number % 256) for number in range(1, count + 1)]


async def test_an_own_stream_goes_on_while_capture_is_killed():
    with RunningMesh() as mesh:
        async with (
            async_client(mesh) as app,
            app.publish("own", width=64, height=48, pixel_format="gray") as stream,
            app.frames("own", timeout_seconds=1.0) as frames,
        ):
            for number in range(100):
                if number == 20:
                    await asyncio.to_thread(_kill, mesh, "capture")
                assert await stream.write(np.full((48, 64), number, np.uint8)) is not None
                assert int((await anext(frames)).array[0, 0]) == number
                await asyncio.sleep(0.02)
            assert frames.counts.epochs == 1

"""A camera that goes and comes back: consumers of its packets see a gap and a key picture, metrics see it gone."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.packets import PacketHeader
from shared.bus import Bus
from shared.demand import Wants
from shared.packets import PacketSubscription
from tests.support.mesh import RunningMesh, bunny
from tests.support.metrics import total
from tests.support.senders import RtspCamera

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

_SECONDS = 10.0
_POLL_SECONDS = 0.02


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            while not condition():
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {_SECONDS} s: {what}") from None


@pytest.mark.long
async def test_a_camera_that_comes_back(tmp_path: Path) -> None:
    camera = RtspCamera(tmp_path)
    with RunningMesh(environment={"FRAMEMESH_CAPTURE_READ_TIMEOUT_SECONDS": "1"}) as mesh:
        metrics = mesh.ready["metrics"]["capture"]

        def live(stream: str) -> bool:
            return total(metrics, "framemesh_capture_live", stream=stream) == 1

        bus = await Bus.connect(mesh.ready["nats"], name="test", timeout_seconds=5)
        headers: list[PacketHeader] = []
        subscription = await PacketSubscription.open(bus, "cam0", "source", lambda header, _: headers.append(header))
        wants = Wants(bus)
        wants.want("test", "cam0", "source", "test")
        with camera.sending():
            await asyncio.to_thread(mesh.call, "capture.start", stream="cam0", source=camera.url)
            await until(lambda: len(headers) > 5, "packets")
            assert live("cam0")
        await until(lambda: not live("cam0"), "lost, between two attempts")
        before = len(headers)
        with camera.sending():
            await until(lambda: len(headers) > before + 5, "packets again")
            assert live("cam0")
        last, first = headers[before - 1], headers[before]
        assert first.key
        assert (first.run, first.epoch) == (last.run, last.epoch)
        assert first.index > last.index + 1
        indexes = [header.index for header in headers[before:]]
        assert indexes == list(range(first.index, first.index + len(indexes)))

        shutil.copy(bunny(), mesh.media_dir / "bunny.mp4")
        await asyncio.to_thread(mesh.call, "capture.start", stream="once", source="file://bunny.mp4", loop=False)
        assert live("once")
        await until(lambda: not live("once"), "a file that has ended is not live")
        await wants.close()
        await subscription.close()
        await bus.drain()

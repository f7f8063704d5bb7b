"""What the tests of the client library share: connecting to a running mesh, and seeing what was encoded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from schemas.packets import PacketHeader
from shared.bus import Bus
from shared.clients.mesh import AsyncMesh, Mesh
from shared.demand import Wants
from shared.packets import PacketSubscription
from tests.support.mesh import RunningMesh
from tests.support.pace import patience


def async_client(mesh: RunningMesh, **changes: Any) -> AbstractAsyncContextManager[AsyncMesh]:
    """A client on the mesh's node; `changes` go to `AsyncMesh.connect`."""
    return AsyncMesh.connect(**{"nats_url": mesh.ready["nats"], "node": "test", "shm_dir": mesh.shm_dir} | changes)


def client(mesh: RunningMesh, **changes: Any) -> AbstractContextManager[Mesh]:
    return Mesh.connect(**{"nats_url": mesh.ready["nats"], "node": "test", "shm_dir": mesh.shm_dir} | changes)


class Viewer:
    """Wants a rendition, takes its packets from the bus and decodes them."""

    def __init__(self) -> None:
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.options = {"flags": "low_delay"}
        self._decoder.thread_count = 1
        self._headers: dict[int, PacketHeader] = {}
        self._started = False
        self.sequences: list[int] = []
        """Of every packet, as it came."""
        self.pictures: dict[int, NDArray[np.uint8]] = {}
        """BGR pictures by the sequence of the frame they were made from."""
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def watching(cls, mesh: RunningMesh, stream: str, rendition: str = "main") -> AsyncIterator["Viewer"]:
        viewer = cls()
        bus = await Bus.connect(mesh.ready["nats"], name="viewer", timeout_seconds=5)
        subscription = await PacketSubscription.open(bus, stream, rendition, viewer._take)
        wants = Wants(bus)
        wants.want("test", stream, rendition, "viewer")
        try:
            yield viewer
        finally:
            await wants.close()
            await subscription.close()
            await bus.drain()

    def _take(self, header: PacketHeader, payload: memoryview) -> None:
        if header.track != "video":
            return
        self.sequences.append(header.sequence)
        self._started = self._started or header.key
        if self._started:
            packet = av.Packet(bytes(payload))
            packet.pts = header.index
            self._headers[header.index] = header
            for picture in self._decoder.decode(packet):
                self.pictures[self._headers.pop(picture.pts).sequence] = picture.to_ndarray(format="bgr24")
        self._changed.set()

    async def until(self, count: int, seconds: float = 10.0) -> None:
        """Wait for `count` decoded pictures."""
        async with patience(seconds):
            while len(self.pictures) < count:
                self._changed.clear()
                await self._changed.wait()

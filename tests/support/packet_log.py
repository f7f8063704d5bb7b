"""What a rendition's pictures were, as the bus carried them, to be compared with what recordings hold."""

import asyncio
import hashlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from schemas.packets import PacketHeader
from shared.bus import Bus
from shared.packets import PacketSubscription

_START_SECONDS = 5.0
_SLICES = (1, 5)  # NAL unit types of H.264 pictures; parameter sets may be moved by a muxer


def _digest(units: list[bytes]) -> str:
    return hashlib.sha1(b"".join(unit for unit in units if unit[0] & 31 in _SLICES), usedforsecurity=False).hexdigest()


def _annexb_digest(payload: bytes) -> str:
    units = payload.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return _digest([unit for unit in units if unit])


def recorded_pictures(path: Path) -> list[str]:
    """Digests of the pictures of an MP4 file, in decoding order.

    Raises:
        av.FFmpegError: the file cannot be played.
    """
    with av.open(path) as container:
        found = []
        for packet in container.demux(video=0):
            data, units = bytes(packet), []
            while data:
                length = int.from_bytes(data[:4], "big")
                units.append(data[4 : 4 + length])
                data = data[4 + length :]
            if units:
                found.append(_digest(units))
        return found


class PacketLog:
    """Listens to one rendition in a thread of its own; use as a context manager, then read `pictures`."""

    def __init__(self, nats_url: str, stream: str, rendition: str = "main") -> None:
        self._url, self._stream, self._rendition = nats_url, stream, rendition
        self._listening, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self.pictures: list[str] = []
        """Digests, in the order of the bus."""

    async def _listen(self) -> None:
        bus = await Bus.connect(self._url, name="packet-log", timeout_seconds=_START_SECONDS)

        def feed(header: PacketHeader, payload: memoryview) -> None:
            if header.track == "video":
                self.pictures.append(_annexb_digest(bytes(payload)))

        subscription = await PacketSubscription.open(bus, self._stream, self._rendition, feed)
        await bus.flush()
        self._listening.set()
        await asyncio.to_thread(self._stop.wait)
        await subscription.close()
        await bus.drain()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(_START_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(_START_SECONDS)

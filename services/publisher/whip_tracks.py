"""Encoded packets as the tracks that aiortc sends: no picture is decoded or encoded here."""

import asyncio
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.packet import Packet

from schemas.packets import Track
from schemas.units import NS_PER_SECOND
from services.publisher.push_wire import PushPacket

# RTP's clocks: RFC 6184 section 8.2.1, RFC 7741 section 4.1 and RFC 7587 section 4.1.
_CLOCK_HZ: dict[Track, int] = {"video": 90_000, "opus": 48_000}
# Two seconds of 60 pictures/s; sent as fast as they come, so more means that this process starves.
_MAX_QUEUED = 120

Queued = tuple[PushPacket, memoryview]


class PacketTrack(MediaStreamTrack):
    """One track; full, it drops what it has and waits for a key picture."""

    def __init__(self, track: Track, lost: Callable[[int], None]) -> None:
        """`lost` is told how many packets were dropped."""
        super().__init__()
        self.kind = "video" if track == "video" else "audio"
        self._clock_hz = _CLOCK_HZ[track]
        self._time_base = Fraction(1, self._clock_hz)
        self._lost = lost
        self._queue: deque[Queued] = deque()
        self._filled = asyncio.Event()
        self._wait_for_key = False
        self.drained = asyncio.Event()
        """The sender has taken everything, and sent all before what it waits for now."""

    def put(self, packet: PushPacket, payload: memoryview) -> None:
        if len(self._queue) >= _MAX_QUEUED:
            self._lost(len(self._queue))
            self._queue.clear()
            self._wait_for_key = self.kind == "video"
        if self._wait_for_key and not packet.key:
            self._lost(1)
            return
        self._wait_for_key = False
        self._queue.append((packet, payload))
        self.drained.clear()
        self._filled.set()

    def stop(self) -> None:
        super().stop()
        self.drained.set()
        self._filled.set()

    async def recv(self) -> "Packet[Any]":
        """The next packet, with its time on RTP's clock; called by the sender.

        Raises:
            MediaStreamError: the track was stopped.
        """
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self.drained.set()
            self._filled.clear()
            await self._filled.wait()
        packet, payload = self._queue.popleft()
        made: Packet[Any] = Packet(len(payload))
        made.update(payload)  # type: ignore[arg-type]  # a copy into libav's memory, all that aiortc takes
        made.pts = (packet.pts_ns * self._clock_hz + NS_PER_SECOND // 2) // NS_PER_SECOND
        made.time_base = self._time_base
        return made

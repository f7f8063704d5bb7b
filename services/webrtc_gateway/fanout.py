"""One rendition to all its viewers: packetise once, remember a little, hand over without waiting."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol

from schemas.packets import PacketHeader
from services.webrtc_gateway.counters import EgressCounters
from services.webrtc_gateway.packetizer import (
    OPUS_CLOCK_HZ,
    VIDEO_CLOCK_HZ,
    RtpUnit,
    packetize_h264,
    packetize_opus,
)
from services.webrtc_gateway.rtp import RtpClock

logger = logging.getLogger(__name__)

HISTORY_PACKETS = 1024  # per track, for retransmission: 2 s at 4 Mbit/s, and SRTP's replay window
MAX_GROUP_PACKETS = 4096  # a longer group of pictures is not kept: catching up would take too long
KEY_REQUEST_SECONDS = 0.3  # one key frame mends every viewer's loss within this time
# A joining viewer takes a group this young as it is (three pictures, caught up at once); else it gets a key frame.
FRESH_GROUP_SECONDS = 0.1
PACE_SECONDS = 0.001  # between bursts of one backlog, so that a key frame fits receivers' socket buffers
# abs-capture-time goes with every picture: interpolation by receivers is tens of ms wrong for the first second.
CAPTURE_TIME_SECONDS = 1.0  # for sound, whose receivers may interpolate


class FeedViewer(Protocol):
    """What the feed needs of a viewer. None of it waits."""

    def send_video(self, unit: RtpUnit) -> None: ...

    def send_audio(self, unit: RtpUnit) -> None: ...

    def lost_video(self) -> None:
        """Something is missing before the next unit: wait for a key frame."""
        ...

    def pace(self) -> bool:
        """Send a little more of the backlog; True while there is some left."""
        ...

    def feed_ended(self, reason: str) -> None: ...


class TrackHistory:
    """The last packets of one track, its clock, and where its producer's count stands."""

    def __init__(self, rate_hz: int) -> None:
        self.clock = RtpClock(rate_hz)
        self.next_number = 0
        self._ring: list[RtpUnit | None] = [None] * HISTORY_PACKETS
        self._last: tuple[int, int] | None = None
        self._capture_time_told_s = 0.0

    @property
    def run(self) -> int | None:
        """The producer's run that the last packet was of."""
        return None if self._last is None else self._last[0]

    def follows(self, header: PacketHeader) -> bool:
        """Note the packet; False when something is missing before it, or the producer is another one."""
        last, self._last = self._last, (header.run, header.index)
        return last is None or self._last == (last[0], last[1] + 1)

    def is_repeat(self, header: PacketHeader) -> bool:
        """Already seen: the packet came once from the cache and once live."""
        return self._last is not None and header.run == self._last[0] and header.index <= self._last[1]

    def append(self, header: PacketHeader, payloads: tuple[bytes, ...], now_s: float, *, new_run: bool) -> RtpUnit:
        due = header.track == "video" or now_s - self._capture_time_told_s >= CAPTURE_TIME_SECONDS
        if due:
            self._capture_time_told_s = now_s
        unit = RtpUnit(
            number=self.next_number,
            payloads=payloads,
            timestamp=self.clock.timestamp(header.pts_ns, new_run),
            key=header.key,
            captured_ns=header.captured_ns,
            arrived_s=now_s,
            tell_capture_time=due,
        )
        for number in range(unit.number, unit.number + len(payloads)):
            self._ring[number % HISTORY_PACKETS] = unit
        self.next_number += len(payloads)
        return unit

    def find(self, number: int) -> tuple[RtpUnit, int] | None:
        """The unit that holds packet `number` and the packet's place in it, while it is remembered."""
        if number < self.next_number - HISTORY_PACKETS:
            return None
        unit = self._ring[number % HISTORY_PACKETS]
        if unit is None or not 0 <= number - unit.number < len(unit.payloads):
            return None
        return unit, number - unit.number


class KeyFrameAsker(Protocol):
    def request_key_frame(self) -> None: ...


class RenditionFeed:
    """Packets of one rendition in, RTP units to every viewer out; lives in the event loop."""

    def __init__(self, stream: str, counters: EgressCounters) -> None:
        self.stream = stream
        self.video = TrackHistory(VIDEO_CLOCK_HZ)
        self.audio = TrackHistory(OPUS_CLOCK_HZ)
        self.unsupported = ""
        """Why nobody can view this rendition; empty when they can."""
        self.forces_key_frames = True
        self.viewers: tuple[FeedViewer, ...] = ()
        self._counters = counters
        self._producer: KeyFrameAsker | None = None
        self._held: list[tuple[PacketHeader, memoryview]] | None = []
        self._group: list[RtpUnit] = []
        self._group_packets = 0
        self._asked_s = float("-inf")
        self._ask_timer: asyncio.TimerHandle | None = None
        self._pace_timer: asyncio.TimerHandle | None = None

    def begin(
        self, producer: KeyFrameAsker, forces_key_frames: bool, cached: Sequence[tuple[PacketHeader, memoryview]]
    ) -> None:
        """Play the cached group of pictures, then what was delivered since the subscription was made."""
        self._producer = producer
        self.forces_key_frames = forces_key_frames
        held, self._held = self._held or [], None
        for header, payload in (*cached, *held):
            self.deliver(header, payload)

    def deliver(self, header: PacketHeader, payload: memoryview) -> None:
        """Take one access unit; called by the subscription on the event loop's thread, never raises."""
        if self._held is not None:
            if len(self._held) < MAX_GROUP_PACKETS:
                self._held.append((header, payload))
            else:
                self._counters.drops["held"] += 1
            return
        began_ns = time.thread_time_ns()
        if header.track == "video":
            self._video(header, payload)
        elif header.track == "opus":
            self._audio(header, payload)
        self._counters.fanout_cpu_ns += time.thread_time_ns() - began_ns

    def add(self, viewer: FeedViewer) -> None:
        self.viewers = (*self.viewers, viewer)

    def remove(self, viewer: FeedViewer) -> None:
        self.viewers = tuple(v for v in self.viewers if v is not viewer)

    def starting_group(self) -> tuple[RtpUnit, ...]:
        """The units a new viewer begins with, from a key unit on; empty: it must wait for the next one."""
        if not self._group:
            return ()
        old = time.monotonic() - self._group[0].arrived_s > FRESH_GROUP_SECONDS
        return () if self.forces_key_frames and old else tuple(self._group)

    def request_key_frame(self, at_most_every_s: float = KEY_REQUEST_SECONDS) -> None:
        """Ask the producer, now or as soon as the last request is that long ago; one request serves all askers."""
        loop = asyncio.get_running_loop()
        wait_s = max(0.0, self._asked_s + at_most_every_s - time.monotonic())
        if self._ask_timer is not None:
            if self._ask_timer.when() <= loop.time() + wait_s:
                return
            self._ask_timer.cancel()
            self._ask_timer = None
        if wait_s > 0:
            self._ask_timer = loop.call_later(wait_s, self._ask)
        else:
            self._ask()

    def start_pacing(self) -> None:
        """A viewer has a backlog."""
        if self._pace_timer is None:
            self._pace_timer = asyncio.get_running_loop().call_later(PACE_SECONDS, self._pace)

    def end(self, reason: str) -> None:
        """Stop timers and end the viewers that are left."""
        for timer in (self._ask_timer, self._pace_timer):
            if timer is not None:
                timer.cancel()
        self._producer = None
        for viewer in self.viewers:
            viewer.feed_ended(reason)

    def _ask(self) -> None:
        self._ask_timer = None
        if self._producer is not None:
            self._asked_s = time.monotonic()
            self._counters.key_requests += 1
            self._producer.request_key_frame()

    def _pace(self) -> None:
        self._pace_timer = None
        began_ns = time.thread_time_ns()
        if any([viewer.pace() for viewer in self.viewers]):  # noqa: C419 - every one must have its turn
            self.start_pacing()
        self._counters.fanout_cpu_ns += time.thread_time_ns() - began_ns

    def _video(self, header: PacketHeader, payload: memoryview) -> None:
        if header.codec != "h264" or header.reordered:
            self._refuse(header)
            return
        track = self.video
        if track.is_repeat(header):
            return
        run_before = track.run
        if not track.follows(header):
            self._group.clear()
            self._counters.drops["gap"] += 1
            for viewer in self.viewers:
                viewer.lost_video()
        payloads = packetize_h264(payload)
        if not payloads:
            self._counters.drops["malformed"] += 1
            return
        self._counters.units += 1
        unit = track.append(header, payloads, time.monotonic(), new_run=run_before not in (None, header.run))
        self._remember(unit)
        if unit.key and self._ask_timer is not None:  # it came by itself
            self._ask_timer.cancel()
            self._ask_timer = None
        for viewer in self.viewers:
            viewer.send_video(unit)

    def _audio(self, header: PacketHeader, payload: memoryview) -> None:
        track = self.audio
        if track.is_repeat(header):
            return
        run_before = track.run
        track.follows(header)  # a gap in sound heals by itself
        payloads = packetize_opus(payload)
        if not payloads:
            self._counters.drops["malformed"] += 1
            return
        self._counters.units += 1
        unit = track.append(header, payloads, time.monotonic(), new_run=run_before not in (None, header.run))
        for viewer in self.viewers:
            viewer.send_audio(unit)

    def _remember(self, unit: RtpUnit) -> None:
        """Keep the current group of pictures, as long as it may still start a viewer."""
        if unit.key:
            self._group = [unit]
            self._group_packets = len(unit.payloads)
        elif self._group:
            self._group_packets += len(unit.payloads)
            stale = self.forces_key_frames and unit.arrived_s - self._group[0].arrived_s > FRESH_GROUP_SECONDS
            if stale or self._group_packets > MAX_GROUP_PACKETS:
                self._group.clear()
            else:
                self._group.append(unit)

    def _refuse(self, header: PacketHeader) -> None:
        if self.unsupported:
            return
        what = "its pictures are reordered (B-frames)" if header.reordered else f"its codec is {header.codec}"
        self.unsupported = (
            f"{header.stream}/{header.rendition} cannot be viewed over WebRTC: {what}; view an h264 rendition instead"
        )
        logger.warning("%s", self.unsupported)
        for viewer in self.viewers:
            viewer.feed_ended("unsupported")

"""One rendition to all its viewers: packetise once, remember a little, hand over without waiting."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from schemas.errors import BadRequest
from schemas.packets import PacketHeader, VideoCodec
from services.webrtc_gateway.codecs.video import VIEWER_CODECS
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.history import TrackHistory
from services.webrtc_gateway.egress.key_frames import KEY_REQUEST_SECONDS, KeyFrameMaker, KeyFrames
from services.webrtc_gateway.egress.packetizer import MAX_EXTENSION_BYTES, MAX_PAYLOAD_BYTES, RtpUnit
from services.webrtc_gateway.egress.source import REORDERED_WHY, codec_why
from shared.metrics import STAGE_BOUNDS_SECONDS, Distribution
from shared.rtp.clock import VIDEO_CLOCK_HZ
from shared.rtp.opus import OPUS_CLOCK_HZ, packetize_opus

logger = logging.getLogger(__name__)

MAX_GROUP_PACKETS = 4096  # a longer group of pictures is not kept: catching up would take too long
# A joining viewer takes a group this young as it is (three pictures, caught up at once); else it gets a key frame.
FRESH_GROUP_SECONDS = 0.1
PACE_SECONDS = 0.001  # between bursts of one backlog, so that a key frame fits receivers' socket buffers


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


class RenditionFeed:
    """Packets of one rendition in, RTP units to every viewer out; lives in the event loop."""

    def __init__(self, stream: str, counters: EgressCounters) -> None:
        self.stream = stream
        self.video = TrackHistory(VIDEO_CLOCK_HZ)
        self.audio = TrackHistory(OPUS_CLOCK_HZ)
        self.unsupported = ""
        """Why nobody can view this rendition; empty when they can."""
        self.seen = asyncio.Event()
        """A picture has come, so that `codec` and `unsupported` are known; or none will come any more."""
        self.codec: VideoCodec | None = None
        """Of the pictures, once one has come or viewers have been promised it."""
        self.forces_key_frames = True
        self.viewers: tuple[FeedViewer, ...] = ()
        self.latency = Distribution(STAGE_BOUNDS_SECONDS)
        """From capture of a picture to when it has been sent to everybody whose line is free."""
        self._counters = counters
        self._key_frames = KeyFrames()
        self._held: list[tuple[PacketHeader, memoryview]] | None = []
        self._group: list[RtpUnit] = []
        self._group_packets = 0
        self._pace_timer: asyncio.TimerHandle | None = None

    def begin(self, producer: KeyFrameMaker, forces_key_frames: bool) -> None:
        """Know the producer. What is delivered is held until `go_live`, for `replay` to come before it."""
        self._key_frames.begin(producer)
        self.forces_key_frames = forces_key_frames

    def replay(self, cached: Sequence[tuple[PacketHeader, memoryview]]) -> None:
        """Play some of the cached group of pictures."""
        for header, payload in cached:
            self._take(header, payload)

    def go_live(self) -> None:
        """Play what was held, and from now on whatever is delivered; what was replayed is not played twice."""
        held, self._held = self._held or [], None
        for header, payload in held:
            self._take(header, payload)

    def deliver(self, header: PacketHeader, payload: memoryview) -> None:
        """Take one access unit; called by the subscription on the event loop's thread, never raises."""
        if self._held is not None:
            if len(self._held) < MAX_GROUP_PACKETS:
                self._held.append((header, payload))
            else:
                self._counters.drops["held"] += 1
            return
        self._take(header, payload)

    def add(self, viewer: FeedViewer) -> None:
        self.viewers = (*self.viewers, viewer)

    def remove(self, viewer: FeedViewer) -> None:
        self.viewers = tuple(v for v in self.viewers if v is not viewer)

    def promise(self, codec: VideoCodec) -> None:
        """A viewer is told that the pictures are `codec`, unless it is known already."""
        self.codec = self.codec or codec

    def starting_group(self) -> tuple[RtpUnit, ...]:
        """The units a new viewer begins with, from a key unit on; empty: it must wait for the next one."""
        if not self._group:
            return ()
        old = time.monotonic() - self._group[0].arrived_s > FRESH_GROUP_SECONDS
        return () if self.forces_key_frames and old else tuple(self._group)

    def request_key_frame(self, at_most_every_s: float = KEY_REQUEST_SECONDS) -> None:
        """As `KeyFrames.request`."""
        self._key_frames.request(at_most_every_s)

    def start_pacing(self) -> None:
        """A viewer has a backlog."""
        if self._pace_timer is None:
            self._pace_timer = asyncio.get_running_loop().call_later(PACE_SECONDS, self._pace)

    def end(self, reason: str) -> None:
        """Stop timers and end the viewers that are left."""
        if self._pace_timer is not None:
            self._pace_timer.cancel()
        self._key_frames.end()
        self.seen.set()
        self._each(lambda viewer: viewer.feed_ended(reason))

    def _take(self, header: PacketHeader, payload: memoryview) -> None:
        began_ns = time.thread_time_ns()
        if header.track == "video":
            self._video(header, payload)
        elif header.track == "opus":
            self._audio(header, payload)
        self._counters.fanout_cpu_ns += time.thread_time_ns() - began_ns

    def _each(self, do: Callable[[FeedViewer], bool | None]) -> bool:
        """Give every viewer its turn; True when any of them said so. One that fails is closed, the others go on."""
        any_said_so = False
        for viewer in self.viewers:
            try:
                any_said_so = bool(do(viewer)) or any_said_so
            except Exception:  # whatever it is, it is that viewer's state: the others' pictures must not wait for it
                logger.exception("a viewer of %s failed and is closed", self.stream)
                self._expel(viewer)
        return any_said_so

    def _expel(self, viewer: FeedViewer) -> None:
        self.remove(viewer)
        try:
            viewer.feed_ended("internal_error")
        except Exception:  # too broken to say goodbye
            logger.exception("closing that viewer of %s", self.stream)

    def _pace(self) -> None:
        self._pace_timer = None
        began_ns = time.thread_time_ns()
        if self._each(lambda viewer: viewer.pace()):
            self.start_pacing()
        self._counters.fanout_cpu_ns += time.thread_time_ns() - began_ns

    def _video(self, header: PacketHeader, payload: memoryview) -> None:
        codec = header.codec
        if codec not in VIEWER_CODECS or header.reordered:
            self._refuse(header)
            return
        if codec != self.codec:
            self._change_codec(codec)
        self.seen.set()
        track = self.video
        if track.is_repeat(header):
            return
        run_before = track.run
        if not track.follows(header):
            self._counters.drops["gap"] += 1
            self._lost()
        try:
            payloads = VIEWER_CODECS[codec].packetize(payload, MAX_PAYLOAD_BYTES, MAX_EXTENSION_BYTES)
        except BadRequest:
            payloads = ()
            self._lost()  # what is made from this picture would be shown without it
        if not payloads:
            self._counters.drops["malformed"] += 1
            return
        self._counters.units += 1
        unit = track.append(header, payloads, time.monotonic(), new_run=run_before not in (None, header.run))
        self._remember(unit)
        if unit.key:
            self._key_frames.came()
        self._each(lambda viewer: viewer.send_video(unit))
        if self.viewers and self._held is None:  # of those that were kept, the age says nothing
            # By two clocks, where it was captured on another host.
            self.latency.observe(max(0.0, (time.time_ns() - header.captured_ns) / 1e9))

    def _audio(self, header: PacketHeader, payload: memoryview) -> None:
        track = self.audio
        if track.is_repeat(header):
            return
        run_before = track.run
        track.follows(header)  # a gap in sound heals by itself
        payloads = packetize_opus(payload, MAX_PAYLOAD_BYTES)
        if not payloads:
            self._counters.drops["malformed"] += 1
            return
        self._counters.units += 1
        unit = track.append(header, payloads, time.monotonic(), new_run=run_before not in (None, header.run))
        self._each(lambda viewer: viewer.send_audio(unit))

    def _lost(self) -> None:
        """A picture is missing: nobody starts with this group, and nobody goes on with it."""
        self._group.clear()
        self._each(lambda viewer: viewer.lost_video())

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

    def _change_codec(self, codec: VideoCodec) -> None:
        """Viewers have agreed to another one: they come back, and agree to this."""
        before, self.codec = self.codec, codec
        self._group.clear()
        if before is not None:
            logger.info("the pictures of %s are %s now, not %s", self.stream, codec, before)
            self._each(lambda viewer: viewer.feed_ended("codec_changed"))

    def _refuse(self, header: PacketHeader) -> None:
        if self.unsupported:
            return
        self.unsupported = REORDERED_WHY if header.codec in VIEWER_CODECS else codec_why(header.codec)
        self.seen.set()
        logger.warning("%s/%s cannot be viewed over WebRTC: %s", header.stream, header.rendition, self.unsupported)
        self._each(lambda viewer: viewer.feed_ended("unsupported"))

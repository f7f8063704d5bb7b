"""One rendition to all its RTSP clients: packetised once, begun at a key picture, handed over without waiting."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from schemas.errors import BadRequest
from schemas.packets import PacketHeader, Track
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.reports import SenderReports
from services.publisher.rtsp.units import FeedTrack, RtpUnit
from shared.rtp.formats import PAYLOAD_FORMATS
from shared.tasks import set_within

log = logging.getLogger(__name__)

_KEY_REQUEST_SECONDS = 0.3  # one key picture serves all who wait within this time
# A client takes a group of an encoder's this young as it is; else it gets a key picture and is not behind.
_FRESH_GROUP_SECONDS = 0.1
_GROUP_BYTES = 4 << 20  # a longer group of a camera's is not kept: 4 s of 8 Mbit/s; clients wait for the next one
_REPORT_SECONDS = 5.0  # RFC 3550 section 6.2
_SOUND_SECONDS = 1.0  # how long the description waits for sound that is expected; its packets come every 20 ms
_MAX_HELD = 4_096  # packets that may come while the packet ring is read

Packet = tuple[PacketHeader, memoryview]


class Listener(Protocol):
    """What the feed needs of a client. None of it waits."""

    def take(self, unit: RtpUnit) -> None: ...

    def lost(self) -> None:
        """Something is missing before the next picture: wait for a key picture."""
        ...

    def report(self, track: Track, packet: bytes) -> None:
        """Send RTCP."""
        ...

    def ended(self, reason: str) -> None: ...


class RenditionFeed:
    """Packets of one rendition in, RTP units to every client out; lives in the event loop."""

    def __init__(self, name: str, counters: RtspCounters, *, forces_key_frames: bool, ask_key: Callable[[], None]):
        """`ask_key`: asks the producer for a key picture and returns at once; called seldom enough."""
        self.name = name
        self.session = secrets.randbits(31)
        """Of the SDP: another one when the rendition became another one."""
        self.tracks: dict[Track, FeedTrack] = {}
        self.reports = SenderReports(self.tracks)
        self.ended_because = ""
        self.on_end: Callable[[], None] | None = None
        self._forces_key_frames = forces_key_frames
        self._ask_key = ask_key
        self._counters = counters
        self._last: dict[Track, tuple[int, int]] = {}
        """(run, index) of the last packet of each track."""
        self._held: list[Packet] | None = []
        self._listeners: tuple[Listener, ...] = ()
        self._group: list[RtpUnit] = []
        self._group_bytes = 0
        self._group_began_s = 0.0
        self._asked_s = float("-inf")
        self._ask_timer: asyncio.TimerHandle | None = None
        self._report_timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._complained: set[str] = set()

    # -- packets -----------------------------------------------------------------------------------------------

    def deliver(self, header: PacketHeader, payload: memoryview) -> None:
        """Take one access unit of the bus; held until `go_live`."""
        if self._held is None:
            self.take(header, payload)
        elif len(self._held) < _MAX_HELD:
            self._held.append((header, payload))
        else:
            self._counters.dropped["held"] += 1

    def go_live(self) -> None:
        """Play what was held; what was taken from the packet ring before is not played twice."""
        held, self._held = self._held or [], None
        for header, payload in held:
            self.take(header, payload)

    def take(self, header: PacketHeader, payload: memoryview) -> None:
        """Packetise one access unit and give it to everybody."""
        if self.ended_because:
            return
        track = self._track(header)
        if track is None:
            return
        last = self._last.get(header.track)
        if last is not None and header.run == last[0] and header.index <= last[1]:
            return  # already seen: once from the packet ring and once live
        self._last[header.track] = (header.run, header.index)
        follows = last is None or (header.run, header.index) == (last[0], last[1] + 1)
        if header.track == "video":
            self.reports.measure(header)
            if not follows:
                self._gap()
        try:
            unit = track.unit(header, payload, new_run=last is not None and last[0] != header.run)
        except BadRequest as error:
            self._complain(header.track, error.message)
            if header.track == "video":  # those that follow refer to it
                self._gap()
            unit = None
        if unit is None:
            self._counters.dropped["unsendable"] += 1
            return
        self._each(lambda listener: listener.take(unit))
        self._remember(unit)

    def _track(self, header: PacketHeader) -> FeedTrack | None:
        """The packet's track, begun or changed when it tells so; None while nothing is known of it."""
        track = self.tracks.get(header.track)
        if track is not None and header.codec != track.header.codec:
            self.end(f"{self.name} is {header.codec} now and was {track.header.codec}")
            return None
        if not header.key or header.codec not in PAYLOAD_FORMATS:
            return track
        if track is None:
            if header.track == "aac" and not (header.sample_rate and header.extradata):
                return None
            track = self.tracks[header.track] = FeedTrack(header)
            self._news.set()
        elif header.extradata != track.header.extradata or header.width != track.header.width:
            # Pictures of another size have their parameter sets in band; the configuration of sound is in SDP alone.
            if header.track == "aac" and header.extradata:
                self.end(f"the sound of {self.name} is of another kind now")
                return None
            track.header = header
        return track

    def _gap(self) -> None:
        self._group.clear()
        self._each(lambda listener: listener.lost())
        if self._listeners:
            self.request_key_frame()

    def _complain(self, track: str, text: str) -> None:
        if text not in self._complained and len(self._complained) < 8:  # once each: it would be said for every picture
            self._complained.add(text)
            log.warning("%s: %s left out for RTSP: %s", self.name, track, text)

    def _remember(self, unit: RtpUnit) -> None:
        """Keep the current group of pictures and its sound, as long as it may still start a client."""
        unit.forget_framing()
        if unit.track == "video" and unit.key:
            self._group, self._group_bytes, self._group_began_s = [unit], unit.octets, time.monotonic()
            if self._ask_timer is not None:  # it came by itself
                self._ask_timer.cancel()
                self._ask_timer = None
        elif self._group:
            self._group_bytes += unit.octets
            stale = self._forces_key_frames and time.monotonic() - self._group_began_s > _FRESH_GROUP_SECONDS
            if stale or self._group_bytes > _GROUP_BYTES:
                self._group.clear()
            else:
                self._group.append(unit)

    # -- clients -----------------------------------------------------------------------------------------------

    async def described(self, expected: Iterable[Track], seconds: float) -> bool:
        """Wait until SDP can be written: pictures (or, where none are expected, sound) and the expected sound.

        False: nothing came in time.
        """
        expected = set(expected)
        deadline = time.monotonic() + seconds
        while not self.ended_because:
            now = time.monotonic()
            if self.tracks and expected <= self.tracks.keys():
                return True
            if "video" in self.tracks or (self.tracks and "video" not in expected):
                deadline = min(deadline, now + _SOUND_SECONDS)
            if now >= deadline:
                return bool(self.tracks)
            self._news.clear()
            await set_within(self._news, deadline - now)
        return False

    def add(self, listener: Listener, *, burst: bool) -> None:
        """A client begins: with the group of pictures of now if it may come at once (`burst`), or the next one."""
        self._listeners = (*self._listeners, listener)
        fresh = bool(self._group) and time.monotonic() - self._group_began_s <= _FRESH_GROUP_SECONDS
        if self._group and (fresh or (burst and not self._forces_key_frames)):
            for unit in tuple(self._group):
                listener.take(unit)
                unit.forget_framing()
        else:
            self.request_key_frame()
        if self._report_timer is None:
            self._report_timer = asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._report_all)

    def remove(self, listener: Listener) -> None:
        self._listeners = tuple(other for other in self._listeners if other is not listener)
        if not self._listeners and self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None

    def request_key_frame(self) -> None:
        """Ask the producer, now or as soon as the last request is long enough ago."""
        if self._ask_timer is None and not self.ended_because:
            wait_s = max(0.0, self._asked_s + _KEY_REQUEST_SECONDS - time.monotonic())
            self._ask_timer = asyncio.get_running_loop().call_later(wait_s, self._ask)

    def end(self, reason: str) -> None:
        """Nothing more will come: tell every client."""
        if self.ended_because:
            return
        self.ended_because = reason
        for timer in (self._ask_timer, self._report_timer):
            if timer is not None:
                timer.cancel()
        self._news.set()
        self._tell(self.reports.goodbyes())
        self._each(lambda listener: listener.ended(reason))
        self._listeners = ()
        self._group.clear()
        if self.on_end is not None:
            self.on_end()

    def first_after(self, unit: RtpUnit, name: Track) -> tuple[int, int]:
        """Sequence number and RTP time that a track goes on with beside `unit`, which is given out just now."""
        track = self.tracks[name]
        later = self._group[self._group.index(unit) :] if unit in self._group else []
        sequence = next((one.sequence for one in later if one.track == name), track.next_sequence)
        return sequence, track.timestamp_at(unit.pts_ns)

    def _report_all(self) -> None:
        self._report_timer = asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._report_all)
        self.reports.follow()
        self._tell(self.reports.now())

    def _tell(self, packets: list[tuple[Track, bytes]]) -> None:
        for name, packet in packets:
            self._each(lambda listener, name=name, packet=packet: listener.report(name, packet))  # type: ignore[misc]

    def _ask(self) -> None:
        self._ask_timer = None
        self._asked_s = time.monotonic()
        self._ask_key()

    def _each(self, do: Callable[[Listener], None]) -> None:
        for listener in self._listeners:
            try:
                do(listener)
            except Exception:  # whatever it is, it is that client's state: the others' pictures must not wait for it
                log.exception("an RTSP client of %s failed and is closed", self.name)
                self.remove(listener)
                listener.ended("internal error")


def tracks_of(feed: RenditionFeed, wanted: str) -> Sequence[FeedTrack]:
    """Pictures and one kind of sound: `wanted` when it is there (`aac`, `opus`), or else AAC before Opus; `none`."""
    sound: Sequence[Track] = ("opus", "aac") if wanted == "opus" else ("aac", "opus")
    chosen = [] if wanted == "none" else [feed.tracks[name] for name in sound if name in feed.tracks][:1]
    return [*([feed.tracks["video"]] if "video" in feed.tracks else []), *chosen]

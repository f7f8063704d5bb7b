"""The renditions that are being played over HLS: packaged from the first request on, until a little after the last."""

import asyncio
import logging
import time
from collections import Counter
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from schemas.errors import Conflict, NotFound, TooMany, Unavailable
from schemas.ids import check_id
from schemas.packets import PacketHeader
from services.webrtc_gateway.egress.source import PacketSource, Subscription
from services.webrtc_gateway.hls.packager import Packager
from services.webrtc_gateway.hls.playlist import media_playlist
from services.webrtc_gateway.hls.window import LiveWindow

logger = logging.getLogger(__name__)

START_SECONDS: Final = 10.0  # an encoder that starts on demand needs a second or two; a camera's key picture some more
IDLE_SECONDS: Final = 12.0  # players ask every target duration; one that is reloaded finds its rendition flowing
IDLE_TARGETS: Final = 3  # target durations, where those are longer
MAX_PACKAGERS: Final = 32  # each holds its last segments in memory
_CHECK_SECONDS: Final = 1.0
_REPLAY_PACKETS: Final = 16  # a millisecond's work at 40 kB each
_REMEMBERED: Final = 1_024  # renditions; the one that was stopped longest ago is forgotten
_MAX_HELD: Final = 4_096


class _Past(NamedTuple):
    """What a rendition's packaging must begin above, when there has been one before."""

    next_number: int = 0
    discontinuities: int = 0


class PackagedRendition:
    """One rendition with its subscription; `in_use` counts the requests that are being answered."""

    def __init__(self, stream: str, rendition: str, dropped: Counter[str], after: "_Past") -> None:
        # Seconds of the epoch: after a pause, or a restart, no number comes again, as segments are longer.
        number = max(int(time.time()), after.next_number)
        self.window = LiveWindow(after.discontinuities)
        self.packager = Packager(f"{stream}/{rendition}", self.window, number, self._ask_for_key, dropped)
        self.in_use = 0
        self.used_s = time.monotonic()
        self.subscription: Subscription | None = None
        self._playlist = -1, b""
        self._held: list[tuple[PacketHeader, memoryview]] | None = []
        self._dropped = dropped

    def deliver(self, header: PacketHeader, payload: memoryview) -> None:
        if self._held is None:
            self.packager.take(header, payload)
        elif len(self._held) < _MAX_HELD:
            self._held.append((header, payload))
        else:
            self._dropped["held"] += 1

    async def play_cached(self, subscription: Subscription) -> None:
        """Begin with the current group of pictures, in turns, so that others get theirs meanwhile."""
        self.subscription = subscription
        self.packager.expected = subscription.tracks
        cached = await subscription.cached()
        for start in range(0, len(cached), _REPLAY_PACKETS):
            for header, payload in cached[start : start + _REPLAY_PACKETS]:
                self.packager.take(header, payload)
            await asyncio.sleep(0)
        held, self._held = self._held or [], None
        for header, payload in held:
            self.packager.take(header, payload)
        if not self.window.segments:
            self._ask_for_key()

    def playlist(self) -> bytes:
        """The media playlist, written once for all who wait for the same part: 0.2 ms, and viewers are many."""
        version, text = self._playlist
        if version != self.window.version:
            text = media_playlist(self.window, self.packager.next_part_number).encode()
            self._playlist = self.window.version, text
        return text

    def _ask_for_key(self) -> None:
        if self.subscription is not None:
            self.subscription.request_key_frame()


class Packagers:
    """Every rendition that is packaged just now."""

    def __init__(self, source: PacketSource) -> None:
        self.dropped: Counter[str] = Counter()
        self._source = source
        self._open: dict[tuple[str, str], PackagedRendition] = {}
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._past: dict[tuple[str, str], _Past] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._starting = 0
        """Being opened: many may ask while the bus has not answered the first."""
        self._closed = False
        self._ticker = asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._check)

    @property
    def count(self) -> int:
        """Safe to read from any thread, as the metrics do."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """As of each one's last segment; safe to read from any thread."""
        return sum(entry.window.held_bytes for entry in tuple(self._open.values()))

    async def acquire(self, stream: str, rendition: str) -> PackagedRendition:
        """The rendition with something to play; `release` it once.

        Raises:
            BadRequest: a name is malformed.
            NotFound: no such stream or rendition.
            Conflict: players cannot take its codec.
            TooMany: too many renditions are packaged.
            Unavailable: nothing came in START_SECONDS.
        """
        key = check_id(stream, "stream"), check_id(rendition, "rendition")
        deadline_s = asyncio.get_running_loop().time() + START_SECONDS
        try:
            async with asyncio.timeout_at(deadline_s):
                lock = self._locks.setdefault(key, asyncio.Lock())
                async with lock:
                    entry = self._open.get(key) or await self._start(key)
                    entry.in_use += 1
        except TimeoutError:
            raise Unavailable(f"{stream} does not answer within {START_SECONDS:.0f} s") from None
        try:
            await self._ready(entry, deadline_s)
        except BaseException:
            self.release(entry)
            raise
        return entry

    def release(self, entry: PackagedRendition) -> None:
        entry.in_use -= 1
        entry.used_s = time.monotonic()

    def wake_all(self) -> None:
        """Who waits finds out that the door closes."""
        self._closed = True
        for entry in self._open.values():
            entry.window.ended = True
            entry.window.wake()

    async def close(self) -> None:
        self._ticker.cancel()
        self.wake_all()
        for key in list(self._open):
            self._stop(key)
        if self._closing:
            await asyncio.wait(self._closing, timeout=START_SECONDS)

    async def _start(self, key: tuple[str, str]) -> PackagedRendition:
        if self._closed:
            raise Unavailable("this gateway is shutting down; try again in a moment")
        if len(self._open) + self._starting >= MAX_PACKAGERS:
            raise TooMany(f"{MAX_PACKAGERS} renditions are being played over HLS; try again when one has ended")
        stream, rendition = key
        entry = PackagedRendition(stream, rendition, self.dropped, self._past.get(key, _Past()))
        self._starting += 1
        try:
            subscription = await self._source.open(stream, rendition, entry.deliver)
        finally:
            self._starting -= 1
        self._open[key] = entry
        try:
            subscription.on_ended(lambda reason: self._stop(key, entry))
            await entry.play_cached(subscription)
            if self._open.get(key) is not entry:
                raise NotFound(f"stream {stream!r} was removed a moment ago")
        except BaseException:  # a cancellation too: nobody has it yet who could stop it
            entry.subscription = subscription
            self._stop(key, entry)
            raise
        logger.info("%s/%s is packaged for HLS", stream, rendition)
        return entry

    async def _ready(self, entry: PackagedRendition, deadline_s: float) -> None:
        """Players begin with a whole segment."""
        window = entry.window
        try:
            async with asyncio.timeout_at(deadline_s):
                while not (window.failed or window.ended or any(one.complete for one in window.segments)):
                    await window.changed()
        except TimeoutError:
            raise Unavailable(f"{entry.packager.name} sent no two key pictures within {START_SECONDS:.0f} s") from None
        if window.failed:
            raise Conflict(window.failed)
        if not any(one.complete for one in window.segments):  # it ended with half of its first one
            if self._closed:
                raise Unavailable("this gateway is shutting down; try again in a moment")
            raise NotFound(f"{entry.packager.name} was removed a moment ago")

    def _stop(self, key: tuple[str, str], entry: PackagedRendition | None = None) -> None:
        found = self._open.get(key)
        if found is None or (entry is not None and found is not entry):
            return
        del self._open[key]
        self._remember(key, found.window)
        found.window.ended = True
        found.window.wake()
        logger.info("%s/%s is no longer packaged for HLS", *key)
        if found.subscription is not None:
            task = asyncio.create_task(found.subscription.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _remember(self, key: tuple[str, str], window: LiveWindow) -> None:
        last = window.last
        if last is None:
            return
        self._past.pop(key, None)
        self._past[key] = _Past(last.number + 1, window.all_discontinuities + 1)
        if len(self._past) > _REMEMBERED:
            del self._past[next(iter(self._past))]

    def _check(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._check)
        now_s = time.monotonic()
        for key, entry in list(self._open.items()):
            longest_s = max(IDLE_SECONDS, IDLE_TARGETS * entry.window.target_seconds)
            if not entry.in_use and now_s - entry.used_s > longest_s:
                self._stop(key)

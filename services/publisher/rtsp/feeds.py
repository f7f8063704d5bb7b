"""The renditions that are being pulled: opened for the first client, closed a little after the last."""

import asyncio
import contextlib
import logging
import secrets
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from schemas.commands import KeyFrameRequest
from schemas.errors import NotFound, Unavailable
from schemas.ids import compound_id
from schemas.packets import PacketHeader, Track
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import SOURCE_RENDITION, command
from services.publisher.renditions import check_rendition, has_layer
from services.publisher.rtsp.counters import RtspCounters
from services.publisher.rtsp.feed import RenditionFeed
from shared.bus import Bus
from shared.demand import Wants
from shared.desired import Desired
from shared.packet_ring import PacketRingReader
from shared.packets import PacketSubscription
from shared.ring import RingError
from shared.state import StateMirrors
from shared.stream_demand import StreamDemand

log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0  # an encoder that starts on demand needs a second or two
_LINGER_SECONDS = 3.0  # players describe on one connection and play on the next
_REPLAY_PACKETS = 16  # a millisecond's work at 40 kB each
_SOUND: tuple[Track, ...] = ("aac", "opus")


class OpenFeed:
    """A feed, what fills it and how many use it."""

    def __init__(self, feed: RenditionFeed, undo: contextlib.AsyncExitStack) -> None:
        self.feed = feed
        self.undo = undo
        self.users = 0
        self.linger: asyncio.TimerHandle | None = None


class Feeds:
    """Every open feed, by stream and rendition."""

    def __init__(self, bus: Bus, mirrors: StateMirrors, wants: Wants, folder: Path, counters: RtspCounters) -> None:
        """`folder`: where packet rings are."""
        self._bus, self._mirrors, self._wants, self._folder = bus, mirrors, wants, folder
        self._counters = counters
        self._streams = Desired("capture", StreamSpec, StreamActual, mirrors)
        self._renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)
        self._consumer = f"publisher-rtsp-{secrets.token_hex(4)}"
        self._open: dict[tuple[str, str], OpenFeed] = {}
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        """Of those that are being opened, while somebody waits: one that is slow holds no other up."""
        self._closing: set[asyncio.Task[None]] = set()

    async def acquire(self, stream: str, rendition: str) -> OpenFeed:
        """The feed, opened when need be; `release` it once.

        Raises:
            NotFound: no such stream or rendition.
            Unavailable: the stream is on no node, or the bus does not answer.
        """
        key = (stream, rendition)
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout(OPEN_SECONDS), lock:
                entry = self._open.get(key) or await self._start(stream, rendition)
        except TimeoutError:
            raise Unavailable(f"{stream} does not answer within {OPEN_SECONDS:g} s") from None
        entry.users += 1
        if entry.linger is not None:
            entry.linger.cancel()
            entry.linger = None
        return entry

    def release(self, entry: OpenFeed) -> None:
        entry.users -= 1
        if entry.users == 0 and not entry.feed.ended_because:
            entry.linger = asyncio.get_running_loop().call_later(_LINGER_SECONDS, entry.feed.end, "nobody pulls it")

    def expected(self, stream: str, rendition: str) -> set[Track]:
        """The tracks that the rendition will have, as far as is known."""
        source = self._streams.actual(stream)
        if rendition == SOURCE_RENDITION or has_layer(source, rendition):
            known = source.source_tracks if source else ()
            return {track for track in ("video", *_SOUND) if track in known}
        if source is None or (source.video is None and source.audio is None):
            return {"video"}
        made = self._renditions.actual(compound_id(stream, rendition))
        if made is not None and made.tracks:
            return {track for track in ("video", *_SOUND) if track in made.tracks}
        return {*(("video",) if source.video else ()), *(_SOUND if source.audio else ())}

    async def close(self) -> None:
        for entry in tuple(self._open.values()):
            entry.feed.end("the server shuts down")
        if self._closing:
            await asyncio.wait(self._closing, timeout=OPEN_SECONDS)

    async def _start(self, stream: str, rendition: str) -> OpenFeed:
        async with contextlib.AsyncExitStack() as undo:
            demand = StreamDemand(
                self._mirrors, self._wants, stream=stream, rendition=rendition, consumer=self._consumer
            )
            undo.callback(demand.close)
            await check_rendition(self._mirrors, stream, rendition, self._streams.actual(stream))
            forces = rendition != SOURCE_RENDITION

            is_layer = has_layer(self._streams.actual(stream), rendition)

            def ask_key() -> None:
                if is_layer:
                    request = msgspec.json.encode(KeyFrameRequest(rendition=rendition))
                    self._bus.post(command("capture", "keyframe", stream), request)
                elif forces:
                    self._bus.post(command("hw-encode", "keyframe", compound_id(stream, rendition)), b"{}")

            feed = RenditionFeed(f"{stream}/{rendition}", self._counters, forces_key_frames=forces, ask_key=ask_key)
            packets = await PacketSubscription.open(self._bus, stream, rendition, feed.deliver)
            undo.push_async_callback(packets.close)
            # The server knows of the subscription before the ring is read, so no packet falls between the two.
            await self._bus.flush()
            cached = await asyncio.to_thread(_read_ring, self._folder, stream, rendition)
            for start in range(0, len(cached), _REPLAY_PACKETS):
                for header, payload in cached[start : start + _REPLAY_PACKETS]:
                    feed.take(header, payload)
                await asyncio.sleep(0)  # other clients' packets must not wait until a whole group is packetised
            feed.go_live()
            entry = self._open[stream, rendition] = OpenFeed(feed, undo.pop_all())
        feed.on_end = lambda: self._forget(entry)
        if feed.ended_because:
            self._forget(entry)
        demand.on_removed(lambda: feed.end(f"stream {stream} was removed"))
        if feed.ended_because:
            raise NotFound(feed.ended_because)
        return entry

    def _forget(self, entry: OpenFeed) -> None:
        """The feed has ended: who comes next gets another one."""
        if entry.linger is not None:
            entry.linger.cancel()
        for key in [key for key, value in self._open.items() if value is entry]:
            del self._open[key]
        task = asyncio.get_running_loop().create_task(self._close(entry))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, entry: OpenFeed) -> None:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await entry.undo.aclose()
        except Exception:  # whatever the bus raises: the feed is gone already, only the log can still tell
            log.exception("closing %s", entry.feed.name)


def _read_ring(folder: Path, stream: str, rendition: str) -> list[tuple[PacketHeader, memoryview]]:
    try:
        with PacketRingReader.open_latest(folder, stream, rendition) as ring:
            return [(header, memoryview(payload)) for header, payload in ring.from_last_key()]
    except (RingError, LookupError):  # no ring on this node (yet): clients wait for a key picture
        return []

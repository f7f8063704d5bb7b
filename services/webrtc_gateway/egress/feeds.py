"""The renditions that are being viewed: opened for the first viewer, closed a little after the last."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

from schemas.errors import NotFound, Unavailable
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import RenditionFeed
from services.webrtc_gateway.egress.source import PacketSource, Subscription

logger = logging.getLogger(__name__)

OPEN_SECONDS = 10.0  # an encoder that starts on demand needs a second or two
SEEN_SECONDS = 1.0  # where no cached group tells at once: sources have several pictures a second
LINGER_SECONDS = 3.0  # a page that is reloaded finds its rendition still flowing
_REPLAY_PACKETS = 16  # a millisecond's work at 40 kB each

Key = tuple[str, str | None]


class OpenFeed:
    """A feed with its subscription and its users, viewers that are still connecting included."""

    def __init__(self, feed: RenditionFeed, subscription: Subscription) -> None:
        self.feed = feed
        self.subscription = subscription
        self.users = 0
        self.closed = False
        self.linger: asyncio.TimerHandle | None = None


class Feeds:
    """Every open feed, by stream and rendition."""

    def __init__(self, source: PacketSource, counters: EgressCounters) -> None:
        self._source = source
        self._counters = counters
        self._open: dict[Key, OpenFeed] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By stream, while somebody holds or awaits one."""
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> tuple[OpenFeed, ...]:
        """Each once; safe from any thread."""
        return tuple({id(entry): entry for entry in tuple(self._open.values())}.values())

    async def acquire(self, stream: str, rendition: str | None) -> OpenFeed:
        """The feed, opened when need be; `release` it once. It may close earlier, when its stream is removed.

        Raises:
            MeshError: what the source says; Unavailable when it says nothing in OPEN_SECONDS.
        """
        lock = self._locks.setdefault(stream, asyncio.Lock())
        async with lock:
            entry = self._open.get((stream, rendition)) or await self._start(stream, rendition)
            entry.users += 1
        if entry.linger is not None:
            entry.linger.cancel()
            entry.linger = None
        return entry

    def release(self, entry: OpenFeed) -> None:
        entry.users -= 1
        if entry.users == 0 and not entry.closed:
            entry.linger = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._close, entry)

    async def close(self) -> None:
        """Close every feed; viewers that are left end with reason `draining`."""
        for entry in set(self._open.values()):
            if entry.linger is not None:
                entry.linger.cancel()
            self._close(entry)
        if self._closing:
            await asyncio.wait(self._closing, timeout=OPEN_SECONDS)

    async def _start(self, stream: str, rendition: str | None) -> OpenFeed:
        feed = RenditionFeed(stream, self._counters)
        async with _in_time(stream):
            subscription = await self._source.open(stream, rendition, feed.deliver)
        known = self._open.get((stream, subscription.rendition))
        if known is not None:  # the default is a rendition that somebody already views by its name
            await subscription.close()
            _check_open(known, stream)
            self._open[stream, rendition] = known
            return known
        entry = OpenFeed(feed, subscription)
        self._open[stream, rendition] = self._open[stream, subscription.rendition] = entry
        feed.begin(subscription, subscription.forces_key_frames)
        subscription.on_ended(lambda reason: self._close(entry, reason))
        try:
            async with _in_time(stream):
                await _play_cached(feed, subscription)
            _check_open(entry, stream)
            feed.go_live()
            if not subscription.forces_key_frames and "video" in subscription.tracks:
                # A source's own packets: whether viewers can take them, one picture tells. An encoder's are its spec's.
                with contextlib.suppress(TimeoutError):  # a source that is silent just now
                    async with asyncio.timeout(SEEN_SECONDS):
                        await feed.seen.wait()
                _check_open(entry, stream)
        except BaseException:  # a cancellation too: nobody has it yet who could release it
            self._close(entry)
            raise
        return entry

    def _close(self, entry: OpenFeed, reason: str = "draining") -> None:
        if entry.closed:
            return
        entry.closed = True
        for key in [key for key, value in self._open.items() if value is entry]:
            del self._open[key]
        entry.feed.end(reason)
        task = asyncio.create_task(self._close_subscription(entry))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_subscription(self, entry: OpenFeed) -> None:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await entry.subscription.close()
        except Exception:  # whatever the bus raises: the feed is gone already, only the log can still tell
            logger.exception("closing %s/%s", entry.feed.stream, entry.subscription.rendition)


def _check_open(entry: OpenFeed, stream: str) -> None:
    """Raises NotFound when the feed has ended while somebody waited for it: a viewer of it would never see anything."""
    if entry.closed:
        raise NotFound(f"stream {stream!r} was removed a moment ago")


async def _play_cached(feed: RenditionFeed, subscription: Subscription) -> None:
    """A little at a time: other viewers' packets must not wait until a whole group is packetised."""
    cached = await subscription.cached()
    for start in range(0, len(cached), _REPLAY_PACKETS):
        feed.replay(cached[start : start + _REPLAY_PACKETS])
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _in_time(stream: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            yield
    except TimeoutError:
        raise Unavailable(f"{stream} does not answer within {OPEN_SECONDS:.0f} s") from None

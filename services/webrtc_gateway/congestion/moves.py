"""Moves viewers from one rendition of their stream to another, at a key frame and one move after the other."""

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from schemas.errors import Conflict, NotFound, Unavailable
from services.webrtc_gateway.congestion.crossing import Crossing
from services.webrtc_gateway.egress.feeds import Feeds, OpenFeed
from services.webrtc_gateway.egress.viewer import Viewer

CROSS_SECONDS = 8.0  # an encoder starts, and makes a key frame, in one or two


class NoKeyFrame(Unavailable):
    """Of a rendition that is there, in CROSS_SECONDS."""


class Moves:
    """Of one gateway's viewers; whoever wants one moved asks here."""

    def __init__(self, feeds: Feeds, swap: Callable[[Viewer, OpenFeed], OpenFeed]) -> None:
        """`swap` notes that a viewer uses another feed, and gives the one to release."""
        self._feeds, self._swap = feeds, swap
        self._turns: WeakKeyDictionary[Viewer, asyncio.Lock] = WeakKeyDictionary()

    async def cross(self, viewer: Viewer, rendition: str) -> None:
        """Have the viewer go on with another rendition; until its key frame it has the one before.

        Raises:
            NotFound: there is no such rendition, or the viewer has left.
            Conflict: the viewer cannot take it.
            Unavailable: it ends; NoKeyFrame: none comes in CROSS_SECONDS.
        """
        async with self._turns.setdefault(viewer, asyncio.Lock()):
            if viewer.rendition != rendition:
                await self._cross(viewer, rendition)

    async def _cross(self, viewer: Viewer, rendition: str) -> None:
        entry = await self._feeds.acquire(viewer.feed.stream, rendition)
        try:
            await self._wait(viewer, entry)
        except BaseException:  # a cancellation too: nobody else releases it
            self._feeds.release(entry)
            raise
        self._feeds.release(self._swap(viewer, entry))

    async def _wait(self, viewer: Viewer, entry: OpenFeed) -> None:
        feed, name = entry.feed, entry.subscription.rendition
        if feed.unsupported:
            raise Conflict(f"{feed.stream}/{name} cannot be viewed: {feed.unsupported}")
        crossing = Crossing(feed, viewer.feed.codec, lambda unit: viewer.cross(feed, name, unit))
        try:
            async with asyncio.timeout(CROSS_SECONDS):
                if not await crossing.done:
                    raise Unavailable(f"{feed.stream}/{name} has ended, or has another codec")
        except TimeoutError:
            if viewer.feed is not feed:  # else the picture has come in the very moment of the deadline
                raise NoKeyFrame(f"{feed.stream}/{name}: no key frame within {CROSS_SECONDS:.0f} s") from None
        finally:
            crossing.give_up()
        if viewer.state == "closed":
            raise NotFound(f"the session {viewer.session[:8]} has ended")

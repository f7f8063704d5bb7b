"""One stream of an encoder in the mesh: pictures in, packets out. Belongs to the mesh's event loop."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from schemas.errors import MeshError
from schemas.packets import PacketHeader
from schemas.units import NS_PER_SECOND
from shared.clients.async_mesh import AsyncMesh
from shared.clients.publishing import PublishedStream
from shared.clients.sail.arrivals import PacketArrivals
from shared.clients.sail.log import log
from shared.clients.sail.push import Push
from shared.clients.sail.request import EncoderRequest
from shared.clients.take_away import take_away
from shared.packets import PacketSubscription
from shared.pixel_formats import Picture
from shared.ring import RingError
from shared.ring.lossless import FailedPicture

NAME_PREFIX: Final = "sail-"
RENDITION: Final = "sail"
_MAX_NODE_CHARACTERS: Final = 40  # of a stream's name, which has 63
_SLOTS: Final = 8  # of the ring: six pictures on their way to the encoder, one being written, one for an onlooker
_DRAIN_SECONDS: Final = 2.0  # in one go: whoever waits looks at other things in between
_numbers = itertools.count(1)
open_names: Final[set[str]] = set()
"""Streams of this process's sessions that have not been closed."""


class Pending(Struct):
    """A picture that was accepted and is not in the file yet. Kept: an encoder that dies is given it again."""

    array: Picture
    number: int
    """Its place in the file."""
    tried: bool = False
    """An encoder could not use it once."""


class Arrived(Struct, frozen=True):
    """A picture's packet."""

    header: PacketHeader
    payload: bytes
    picture: Pending


class SessionEvents(Struct, frozen=True):
    """Called in the event loop."""

    arrived: Callable[[Arrived], None]
    failed: Callable[[str], None]
    """A picture could not be encoded."""
    push_failed: Callable[[str], None]
    """The destination does not take what was encoded."""
    broken: Callable[[str], None]
    """Pictures were lost on their way: open another session, and give it those of `outstanding`."""


def stream_name(node: str) -> str:
    """Of this process's next stream: `sail-<node>-<pid>-<n>`."""
    return f"{NAME_PREFIX}{node[:_MAX_NODE_CHARACTERS].strip('-')}-{os.getpid()}-{next(_numbers)}"


class Session:
    """From `open` to `close`."""

    def __init__(self, mesh: AsyncMesh, request: EncoderRequest, events: SessionEvents) -> None:
        self._mesh, self._request, self._events = mesh, request, events
        self._started_ns = time.time_ns()
        self._stack = contextlib.AsyncExitStack()
        self._stream: PublishedStream | None = None
        self._arrivals: PacketArrivals | None = None
        self._run = 0
        self._abandoned = False
        self._closing: asyncio.Task[None] | None = None
        self._rendition_ended = False
        self.name = stream_name(mesh.settings.node)
        open_names.add(self.name)
        self.outstanding: dict[int, Pending] = {}
        """Given to the encoder, and no packet has come; by sequence. Always empty of a push, which tells of none."""

    @property
    def _files(self) -> bool:
        return self._request.file is not None

    async def open(self) -> None:
        """Make the stream, its rendition and, for a push, its output.

        Raises:
            MeshError: a service refused, or does not run.
        """
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        mesh, request, stack = self._mesh, self._request, self._stack
        self._stream = await stack.enter_async_context(
            mesh.publish(
                self.name,
                width=request.width,
                height=request.height,
                pixel_format=request.pixel_format,
                fps=request.framerate,
                delivery="lossless",
                consumer=f"hw-encode-{RENDITION}",
                slots=_SLOTS,
            )
        )
        self._stream.on_failed = self._not_encoded
        stack.push_async_callback(self._end_rendition)  # also of one whose answer is lost
        await mesh.start_rendition(self.name, RENDITION, codec=request.codec, **request.rendition)
        if not self._files:
            await Push(mesh, self.name, RENDITION, self._events.push_failed).open(request.url, stack)
            return
        self._arrivals = PacketArrivals(mesh.settings.shm_dir, self.name, RENDITION, self._take)
        stack.push_async_callback(self._arrivals.close)
        subscription = await PacketSubscription.open(mesh.bus, self.name, RENDITION, self._arrivals.receive)
        stack.push_async_callback(subscription.close)

    async def _end_rendition(self) -> None:
        if not self._rendition_ended:
            self._rendition_ended = True
            await take_away(f"the rendition of {self.name}", lambda: self._mesh.stop_rendition(self.name, RENDITION))

    async def write(self, picture: Pending) -> None:
        """Give a picture to the encoder.

        Raises:
            NotConsumed: the encoder makes no room.
            MeshError, RingError: the stream is lost.
        """
        assert self._stream is not None  # open() has been called
        pts_ns = self._started_ns + round(picture.number * NS_PER_SECOND / self._request.framerate)
        ref = await self._stream.write(picture.array, pts_ns=pts_ns)
        if ref is not None and self._files:
            self.outstanding[ref.sequence] = picture

    async def flush(self) -> None:
        """End the encoder when it has consumed everything, so that it gives what it holds back."""
        assert self._stream is not None  # open() has been called
        if await self._stream.drain(_DRAIN_SECONDS):
            await self._end_rendition()
            self.look()

    @property
    def consumed(self) -> int:
        """Outstanding pictures that the encoder has consumed: it holds their packets, or these were lost."""
        if self._stream is None or self._stream.gate is None:
            return 0
        in_flight = self._stream.gate.protected
        return sum(not in_flight or sequence < in_flight.start for sequence in self.outstanding)

    def abandon(self) -> list[Pending]:
        """Take no more packets, and everything away in a while; returns the pictures without a packet."""
        self._abandoned = True
        self._closing = asyncio.create_task(self._close(), name=f"close {self.name}")
        left = sorted(self.outstanding.values(), key=lambda picture: picture.number)
        self.outstanding.clear()
        return left

    def look(self) -> None:
        """Look in the packet ring for what the bus may have lost."""
        if self._arrivals is not None:
            self._arrivals.look()

    async def close(self) -> None:
        """Take everything away; what cannot be is told in the log. May be called again."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"close {self.name}")
        await self._closing

    @property
    def closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    async def _close(self) -> None:
        try:
            async with self._stack:
                if self._stream is not None and not self._abandoned:
                    await self.flush()  # what the encoder holds still goes to the destination
        except (MeshError, RingError) as error:
            log.warning("%s: %s", self.name, error)
        finally:
            open_names.discard(self.name)

    # -- what comes back -------------------------------------------------------------------------------------

    def _take(self, header: PacketHeader, payload: bytes) -> None:
        if self._abandoned or self._stream is None or header.epoch != self._stream.epoch:
            return
        if header.run != self._run:
            # Another encoder goes on. It may begin where the one before ended, and nowhere else.
            first = next(iter(self.outstanding), 0)
            if self._run and (header.sequence != first or not header.key):
                self._abandoned = True
                self._events.broken("the encoder has died with pictures")
                return
            self._run = header.run
        picture = self.outstanding.pop(header.sequence, None)
        if picture is not None:
            self._events.arrived(Arrived(header, payload, picture))

    def _not_encoded(self, failed: FailedPicture) -> None:
        if self._abandoned:
            return
        picture = self.outstanding.get(failed.ref.sequence)
        if picture is not None and not picture.tried:  # one that has just been restarted may not find it
            picture.tried = self._abandoned = True
            self._events.broken(f"a picture was not encoded: {failed.error}")
            return
        self.outstanding.pop(failed.ref.sequence, None)
        self._events.failed(failed.error)

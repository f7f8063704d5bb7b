"""An application's connection to the mesh, for ordinary blocking code."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from schemas.commands import KeyFrameReply, MeshStatus, OutputChanged, RenditionChanged, StreamChanged, StreamEntry
from schemas.events import Event
from schemas.frames import Clock, FrameRef
from shared.bus_access import BusAccess
from shared.clients.async_mesh import CONNECT_TIMEOUT_SECONDS, AsyncMesh
from shared.clients.frame import Frame
from shared.clients.frames import FrameCounts, FrameStream
from shared.clients.packets import Packet
from shared.clients.picture import PictureInPlace
from shared.clients.publishing import PublishCounts, PublishedStream
from shared.clients.transforming import Transform, TransformCounts, TransformPacket
from shared.pixel_formats import Picture
from shared.settings import Settings
from shared.tasks import end_tasks

T = TypeVar("T")
Item = TypeVar("Item", covariant=True)

_END_SECONDS: Final = 10.0  # what the connection may take to end; the thread is a daemon, so the process ends anyway


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mesh-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and wait for it; Ctrl-C cancels it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a blocking Mesh was called inside its own event loop; use AsyncMesh there")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end_tasks(), self._loop).result(_END_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end_tasks(self) -> None:
        """What a connection that was lost has left: a loop that is closed with tasks in it complains at exit."""
        await end_tasks(*(asyncio.all_tasks() - {asyncio.current_task()}))


class _AsyncItems(Protocol[Item]):
    async def __aenter__(self) -> object: ...
    async def __anext__(self) -> Item: ...
    async def aclose(self) -> None: ...


class Items(Generic[T]):
    """An ordinary iterator over an asynchronous one; `close()` it, leave its `with` block, or just drop it."""

    def __init__(self, loop: _Loop, items: _AsyncItems[T]) -> None:
        self._loop, self._items = loop, items

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._loop.run(self._next())
        except _Ended:
            raise StopIteration from None

    async def _next(self) -> T:
        try:
            return await self._items.__anext__()
        except StopAsyncIteration:
            raise _Ended from None

    def close(self) -> None:
        """End the iteration; one that waits in another thread is woken."""
        self._loop.run(self._items.aclose())

    def __enter__(self) -> Self:
        """Begin at once: what happens from now on is seen."""
        self._loop.run(self._items.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ended(Exception):
    """StopAsyncIteration on its way between threads: a future cannot carry it."""


class Frames(Items[Frame]):
    """The pictures of one stream; see `AsyncMesh.frames`."""

    def __init__(self, loop: _Loop, items: FrameStream) -> None:
        super().__init__(loop, items)
        self._frames = items

    @property
    def counts(self) -> FrameCounts:
        return self._frames.counts


class BlockingPicture:
    """`with stream.picture() as array: draw(array)`; waits for a lossless stream's consumer as `write` does."""

    def __init__(self, loop: _Loop, inner: PictureInPlace) -> None:
        self._loop, self._inner = loop, inner

    @property
    def ref(self) -> FrameRef | None:
        """After the block: the reference of the picture; None when it was dropped."""
        return self._inner.ref

    def __enter__(self) -> Picture:
        return self._loop.run(self._inner.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._inner.__aexit__(kind, error, trace))


class BlockingStream:
    """A stream that this application writes; see `PublishedStream`. For one thread at a time."""

    def __init__(self, loop: _Loop, inner: PublishedStream) -> None:
        self._loop, self._inner = loop, inner
        self.name, self.epoch, self.geometry, self.delivery = inner.name, inner.epoch, inner.geometry, inner.delivery

    @property
    def counts(self) -> PublishCounts:
        return self._inner.counts

    def write(
        self,
        array: Picture,
        *,
        captured_ns: int | None = None,
        pts_ns: int | None = None,
        clock: Clock = "arrival",
    ) -> FrameRef | None:
        return self._loop.run(self._inner.write(array, captured_ns=captured_ns, pts_ns=pts_ns, clock=clock))

    def picture(
        self, *, captured_ns: int | None = None, pts_ns: int | None = None, clock: Clock = "arrival"
    ) -> BlockingPicture:
        return BlockingPicture(self._loop, self._inner.picture(captured_ns=captured_ns, pts_ns=pts_ns, clock=clock))

    def drain(self, timeout_seconds: float = 10.0) -> bool:
        return self._loop.run(self._inner.drain(timeout_seconds))


class BlockingTransform:
    """A rendition that this application makes; see `Transform`."""

    def __init__(self, loop: _Loop, inner: Transform) -> None:
        self._loop, self._inner = loop, inner

    @property
    def counts(self) -> TransformCounts:
        return self._inner.counts

    @property
    def wanted(self) -> bool:
        return self._inner.wanted

    def wait(self) -> None:
        """Until it ends by itself; raises as `Transform.wait`. Ctrl-C ends the waiting."""
        self._loop.run(self._inner.wait())


class Mesh:
    """`AsyncMesh` for blocking code: the same methods and errors, usable from several threads. Made by `connect`."""

    def __init__(self, loop: _Loop, inner: AsyncMesh) -> None:
        self._loop, self._inner = loop, inner

    @classmethod
    @contextlib.contextmanager
    def connect(
        cls,
        nats_url: str | None = None,
        *,
        node: str | None = None,
        shm_dir: Path | str | None = None,
        name: str = "app",
        timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        access: BusAccess | None = None,
    ) -> Iterator[Self]:
        """`with Mesh.connect() as mesh`: connected until the end of the block. Arguments and errors as `AsyncMesh`."""
        loop = _Loop()
        try:
            connection = AsyncMesh.connect(
                nats_url, node=node, shm_dir=shm_dir, name=name, timeout_seconds=timeout_seconds, access=access
            )
            with _entered(loop, connection) as inner:
                yield cls(loop, inner)
        finally:
            loop.close()

    @property
    def connected(self) -> bool:
        return self._inner.connected

    @property
    def settings(self) -> Settings:
        """Where the mesh is: as given, or from the environment."""
        return self._inner.settings

    def run(self, work: Callable[[AsyncMesh], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with this connection's `AsyncMesh`, in its event loop, and wait for the result."""
        return self._loop.run(work(self._inner))

    def status(self) -> MeshStatus:
        return self._loop.run(self._inner.status())

    def streams(self) -> list[StreamEntry]:
        return self._loop.run(self._inner.streams())

    def frames(self, stream: str, *, timeout_seconds: float | None = None, consumer: str | None = None) -> Frames:
        return Frames(self._loop, self._inner.frames(stream, timeout_seconds=timeout_seconds, consumer=consumer))

    def events(
        self, *, service: str | None = None, stream: str | None = None, timeout_seconds: float | None = None
    ) -> Items[Event]:
        events = self._inner.events(service=service, stream=stream, timeout_seconds=timeout_seconds)
        return Items(self._loop, events)

    def tell(self, resource: str, name: str, about: FrameRef | None = None, **detail: Any) -> None:
        async def tell(mesh: AsyncMesh) -> None:
            mesh.tell(resource, name, about, **detail)

        self.run(tell)

    @contextlib.contextmanager
    def publish(self, stream: str, *, width: int, height: int, **options: Any) -> Iterator[BlockingStream]:
        """`options` are the other arguments of `AsyncMesh.publish`."""
        opening = self._inner.publish(stream, width=width, height=height, **options)
        with _entered(self._loop, opening) as published:
            yield BlockingStream(self._loop, published)

    def packets(self, stream: str, rendition: str = "main", *, timeout_seconds: float | None = None) -> Items[Packet]:
        return Items(self._loop, self._inner.packets(stream, rendition, timeout_seconds=timeout_seconds))

    @contextlib.contextmanager
    def transform(
        self, stream: str, rendition: str = "main", *, into: str, make: TransformPacket
    ) -> Iterator[BlockingTransform]:
        opening = self._inner.transform(stream, rendition, into=into, make=make)
        with _entered(self._loop, opening) as transform:
            yield BlockingTransform(self._loop, transform)

    def call(self, name: str, /, **request: Any) -> dict[str, Any]:
        return self._loop.run(self._inner.call(name, **request))

    def start_stream(self, stream: str, source: str, **fields: Any) -> StreamChanged:
        return self._loop.run(self._inner.start_stream(stream, source, **fields))

    def stop_stream(self, stream: str, **fields: Any) -> StreamChanged:
        return self._loop.run(self._inner.stop_stream(stream, **fields))

    def start_rendition(self, stream: str, rendition: str = "main", **fields: Any) -> RenditionChanged:
        return self._loop.run(self._inner.start_rendition(stream, rendition, **fields))

    def stop_rendition(self, stream: str, rendition: str = "main", **fields: Any) -> RenditionChanged:
        return self._loop.run(self._inner.stop_rendition(stream, rendition, **fields))

    def start_output(self, stream: str, output: str, to: str, **fields: Any) -> OutputChanged:
        return self._loop.run(self._inner.start_output(stream, output, to, **fields))

    def stop_output(self, stream: str, output: str, **fields: Any) -> OutputChanged:
        return self._loop.run(self._inner.stop_output(stream, output, **fields))

    def key_frame(self, stream: str, rendition: str = "main", reason: str = "") -> KeyFrameReply:
        return self._loop.run(self._inner.key_frame(stream, rendition, reason))


@contextlib.contextmanager
def _entered(loop: _Loop, opening: contextlib.AbstractAsyncContextManager[T]) -> Iterator[T]:
    """An asynchronous context manager, entered and left in the loop; it hears of an error in the block."""
    inner = loop.run(opening.__aenter__())
    try:
        yield inner
    except BaseException as error:
        if not loop.run(opening.__aexit__(type(error), error, error.__traceback__)):
            raise
    else:
        loop.run(opening.__aexit__(None, None, None))

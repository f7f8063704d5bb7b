"""A rendition that an application makes out of another one's packets, for as long as somebody wants it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from schemas.encoding import CODEC_RENDITIONS
from schemas.errors import Conflict, InvalidValue, MeshError, NotFound, Unavailable
from schemas.ids import check_id, compound_id
from schemas.packets import PacketHeader, VideoCodec
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import DEFAULT_RENDITION, RAW, SOURCE_RENDITION, state_key
from shared.bus import Bus
from shared.clients.errors import NoSuchStream, OtherNode
from shared.clients.keeper import Keeper
from shared.clients.packets import Packet, PacketStream
from shared.demand import DemandBoard, Wants
from shared.desired import Desired
from shared.epochs import next_epoch
from shared.packet_ring import RingSize, writers_of
from shared.packet_ring.layout import MIN_CAPACITY_BYTES
from shared.packet_ring.writer import DEFAULT_MAX_BYTES, DEFAULT_SECONDS
from shared.packets import PacketPublisher
from shared.settings import Settings
from shared.state import StateMirrors
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

Payload = bytes | bytearray | memoryview
TransformPacket = Callable[[PacketHeader, memoryview], Payload | None]
Claim = Callable[..., Any]

RING_SIZE: Final = RingSize(DEFAULT_SECONDS, DEFAULT_MAX_BYTES)  # as of an encoder's
_IDLE_SIZE: Final = RingSize(DEFAULT_SECONDS, MIN_CAPACITY_BYTES)  # shows that the application lives, and costs nothing
_MADE_ANYWAY: Final = (RAW, SOURCE_RENDITION, DEFAULT_RENDITION, *CODEC_RENDITIONS)
_LINGER_SECONDS: Final = 3.0  # a page that is reloaded finds its rendition still flowing
_WORK_END_SECONDS: Final = 5.0  # a packet's work that takes longer is left behind
# Of the new producer, so not carried on.
_PRODUCERS_OWN: Final = ("stream", "rendition", "track", "run", "index", "encoded_ns", "part", "parts")


@dataclass
class TransformCounts:
    """What has become of the packets."""

    made: int = 0
    left_out: int = 0
    """The application gave nothing back."""
    missed: int = 0
    """Lost on the way, or left out until the next key picture after that, or because the application is too slow."""


class Transform:
    """Made by `AsyncMesh.transform`."""

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        wants: Wants,
        keeper: Keeper,
        *,
        stream: str,
        rendition: str,
        into: str,
        make: TransformPacket,
        application: str,
    ) -> None:
        self.stream, self.rendition, self.into = (
            check_id(stream, "stream"),
            check_id(rendition, "rendition"),
            check_id(into, "into"),
        )
        self.counts = TransformCounts()
        self._id = compound_id(stream, into)
        self._bus, self._settings, self._wants, self._keeper = bus, settings, wants, keeper
        self._make = make
        self._application = application
        self._changed = asyncio.Event()
        self._over: MeshError | None = None
        self._stack = contextlib.AsyncExitStack()
        # What the application does with a packet may take as long as it likes; the event loop does not wait for it.
        self._thread = ThreadPoolExecutor(1, f"transform-{self._id}")
        self._publisher: PacketPublisher | None = None
        self._mirrors: StateMirrors | None = None
        self._board: DemandBoard | None = None
        self._task: asyncio.Task[Any] | None = None

    @property
    def wanted(self) -> bool:
        """Somebody takes the packets now; while nobody does, none are made."""
        return self._board is not None and self._board.wanted(self.stream, self.into)

    async def start(self, claim: Claim, give_up: Claim) -> None:
        """Take the name, and follow the demand.

        Args:
            claim, give_up: `start_rendition` and `stop_rendition`.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._thread.shutdown, wait=False, cancel_futures=True)
            self._mirrors = await StateMirrors.open(self._bus)
            stack.push_async_callback(self._mirrors.close)
            fields = self._source(self._mirrors)
            self._check_name(self._mirrors)
            folder = self._settings.shm_dir
            if await asyncio.to_thread(writers_of, folder, self.stream, self.into):
                raise Conflict(f"another application makes {self.stream}/{self.into}; choose another name, or end it")
            stack.push_async_callback(self._close_publisher)
            # Before it is claimed: hw-encode takes away what nobody writes.
            self._publisher = await self._resting_publisher()
            await claim(self.stream, self.into, made_from=self.rendition, **fields)
            stack.push_async_callback(self._withdraw, give_up)
            await self._mirrors.desired.wait_for(lambda entries: self._key in entries, _LINGER_SECONDS)
            stack.callback(self._mirrors.on_desired(self._desired_changed))
            self._board = await DemandBoard.open(self._bus, self._settings.node, self._changed.set)
            stack.push_async_callback(self._board.close)
            self._task = start_task(self._run_until_over(), f"transform {self._id}")
            self._stack = stack.pop_all()

    def _check_name(self, mirrors: StateMirrors) -> None:
        if self.into in _MADE_ANYWAY:
            raise InvalidValue("into", self.into, "this one is made without an application; choose another name")
        found = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors).spec(self._id)
        if found is not None and found[0].made_from is None:
            raise Conflict(f"an encoder makes {self.stream}/{self.into}; choose another name, or stop it first")

    @property
    def _key(self) -> str:
        return state_key("hw-encode", self._id)

    def _source(self, mirrors: StateMirrors) -> dict[str, Any]:
        """What the new rendition has of the one it is made from, as fields of its spec."""
        streams = Desired("capture", StreamSpec, StreamActual, mirrors)
        found = streams.spec(self.stream)
        if found is None:
            raise NoSuchStream(self.stream, tuple(name for name, *_ in streams.all()))
        if found[0].node != self._settings.node:
            raise OtherNode(self.stream, found[0].node or "", self._settings.node)
        if self.rendition == SOURCE_RENDITION:
            actual = streams.actual(self.stream)
            if actual is None or actual.video is None:
                raise Unavailable(f"{self.stream} is not live yet, so nobody knows its codec; try again when it is")
            if "video" not in actual.source_tracks:
                raise NotFound(f"{self.stream} has no packets of its own that can be carried; transform main instead")
            return {"codec": actual.video.codec}
        renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)
        known = renditions.spec(compound_id(self.stream, self.rendition))
        if known is None:
            codec: VideoCodec = "h264"
            with contextlib.suppress(msgspec.ValidationError):  # not one of those named after a codec
                codec = msgspec.convert(self.rendition, VideoCodec)
            return {"codec": codec}
        return {"codec": known[0].codec, "b_frames": known[0].b_frames}

    async def _resting_publisher(self) -> PacketPublisher:
        """A new run: who joins later must not begin with what was made long ago."""
        run = await next_epoch(self._bus, self._id)
        return await asyncio.to_thread(
            PacketPublisher,
            self._bus,
            self._settings.shm_dir,
            stream=self.stream,
            rendition=self.into,
            run=run,
            ring_seconds=_IDLE_SIZE.seconds,
            ring_bytes=_IDLE_SIZE.max_bytes,
        )

    def _desired_changed(self) -> None:
        assert self._mirrors is not None  # who calls
        entries = self._mirrors.desired.entries
        if state_key("capture", self.stream) not in entries:
            self._over = NotFound(f"stream {self.stream!r} was removed")
        elif self._key not in entries:
            self._over = NotFound(f"rendition {self.stream}/{self.into} was removed; it can be made again")
        if self._over:
            self._changed.set()

    # -- while it is wanted ----------------------------------------------------------------------------------

    async def _run_until_over(self) -> None:
        try:
            await self._run()
        except Exception:  # of the application's function any; hw-encode takes away what nobody writes
            await self._close_publisher()
            raise

    async def _run(self) -> None:
        while True:
            await self._until(wanted=True)
            await self._make_packets()
            before, self._publisher = self._publisher, await self._resting_publisher()
            if before is not None:
                before.close()

    async def _until(self, *, wanted: bool) -> None:
        while True:
            self._changed.clear()
            if self._over is not None:
                raise self._over
            if self.wanted == wanted:
                return
            await self._changed.wait()

    async def _make_packets(self) -> None:
        """Until nobody has wanted any for a while."""
        publisher = self._publisher
        assert publisher is not None  # made before the task
        await asyncio.to_thread(publisher.resize, RING_SIZE)
        packets = PacketStream(
            self._bus,
            self._settings.shm_dir,
            self._wants,
            self.stream,
            self.rendition,
            application=self._application,
            timeout_seconds=None,
            keeper=self._keeper,
        )
        leaving = start_task(self._leave(packets), f"transform {self._id} until it is not wanted")
        counts, missed_before = packets.counts, self.counts.missed
        loop = asyncio.get_running_loop()
        try:
            async for packet in packets:
                await loop.run_in_executor(self._thread, self._work, publisher, packet)
                self.counts.missed = missed_before + counts.undecodable + counts.dropped
        finally:
            await end_tasks(leaving)
            await packets.aclose()
        if self._over is not None:
            raise self._over

    async def _leave(self, packets: PacketStream) -> None:
        while self._over is None:
            self._changed.clear()
            # Demand that comes again within the time has set the event.
            if not self.wanted and not await set_within(self._changed, _LINGER_SECONDS):
                break
            if self.wanted:
                await self._changed.wait()
        await packets.aclose()

    def _work(self, publisher: PacketPublisher, packet: Packet) -> None:
        header = packet.header
        if header.track == "video" and not packet.follows:
            publisher.gap()  # whoever takes the new packets must know as well
        made = self._make(header, packet.payload)
        if made is None:
            self.counts.left_out += 1
            return
        fields = {name: value for name, value in msgspec.structs.asdict(header).items() if name not in _PRODUCERS_OWN}
        publisher.publish(made if isinstance(made, bytes) else bytes(made), track=header.track, **fields)
        self.counts.made += 1

    # -- the end ---------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Until it ends by itself.

        Raises:
            NotFound: the stream or the rendition was removed.
            Exception: what the application's own function has raised.
        """
        if self._task:
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()

    async def close(self) -> None:
        """End it; the rendition is removed."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_WORK_END_SECONDS)
        await self._stack.aclose()

    async def _withdraw(self, give_up: Claim) -> None:
        with contextlib.suppress(NotFound):  # it was removed, and that ended this
            try:
                await give_up(self.stream, self.into, wait_s=0)
            except NotFound:
                raise
            except MeshError as error:  # hw-encode sees by itself that nobody writes it
                log.warning("rendition %s stays a little: %s", self._id, error)

    async def _close_publisher(self) -> None:
        if self._publisher is not None:
            await asyncio.to_thread(self._publisher.close)

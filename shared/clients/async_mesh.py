"""An application's connection to the mesh, for asyncio."""

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.commands import MeshStatus, StreamEntry
from schemas.errors import InvalidValue, MeshError
from schemas.frames import Delivery, FrameRef, PixelFormat
from schemas.ids import check_id
from schemas.resources import StreamActual
from schemas.subjects import ACTUAL_BUCKET, state_key
from shared.bus import Bus, Entry, Mirror
from shared.bus_access import BusAccess
from shared.clients.commands import Commands
from shared.clients.events import EventStream, application_event
from shared.clients.frames import FrameStream
from shared.clients.keeper import Keeper
from shared.clients.packets import PacketStream
from shared.clients.publishing import PublishedStream
from shared.clients.state import snapshot
from shared.clients.stream_place import stream_place
from shared.clients.transforming import Transform, TransformPacket
from shared.demand import Wants
from shared.epochs import next_epoch
from shared.ring import LosslessGate, RingGeometry, StreamWriter
from shared.ring.folder import newest_epoch
from shared.ring.lossless import FullPolicy
from shared.settings import Settings, load_settings
from shared.state import read_entry

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS: Final = 5.0
DEFAULT_DEADLINE_SECONDS: Final = 5.0
DEFAULT_CONSUMER: Final = "hw-encode-main"
"""Who consumes a lossless stream unless told otherwise: the encoder of its rendition `main`."""
_ENCODER_PREFIX: Final = "hw-encode-"
DEFAULT_SLOTS: Final = 8
_SPARE_SLOTS: Final = 2  # of a lossless ring: one being written, one that an onlooker may hold
_SHOWN_SECONDS: Final = 1.0  # capture looks four times a second, and may be busy


class AsyncMesh(Commands):
    """Made by `connect`. Belongs to the event loop it was made in."""

    def __init__(self, bus: Bus, settings: Settings, name: str) -> None:
        super().__init__(bus)
        self.settings = settings
        self.name = f"{name}-{secrets.token_hex(3)}"
        """Of this connection, as it stands in demand keys: two instances of one application must not be one."""
        self._wants = Wants(bus)
        self._keeper = Keeper()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        nats_url: str | None = None,
        *,
        node: str | None = None,
        shm_dir: Path | str | None = None,
        name: str = "app",
        timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        access: BusAccess | None = None,
    ) -> AsyncIterator[Self]:
        """`async with AsyncMesh.connect() as mesh`: connected until the end of the block.

        Args:
            nats_url, node, shm_dir: left out, what `FRAMEMESH_NATS_URL`, `_NODE` and `_SHM_DIR` say, and their
                defaults, as for the services.
            name: of the application, shown to whoever looks.
            access: what is shown to a locked bus; left out, what `FRAMEMESH_NATS_CREDENTIALS`, `_CA`, `_CERTIFICATE`
                and `_KEY` say.

        Raises:
            InvalidValue: a setting that is none.
            Unavailable: no NATS server within `timeout_seconds`.
        """
        settings = load_settings(Settings, "client")
        given = {"nats_url": nats_url, "node": node, "shm_dir": None if shm_dir is None else Path(shm_dir)}
        settings = msgspec.structs.replace(
            settings, **{key: value for key, value in given.items() if value is not None}
        )
        check_id(settings.node, "node")
        bus = await Bus.connect(
            settings.nats_url,
            name=f"{check_id(name, 'name')}@{settings.node}",
            access=access or settings.bus_access(),
            timeout_seconds=timeout_seconds,
        )
        mesh = cls(bus, settings, name)
        try:
            yield mesh
        finally:
            await mesh._keeper.close_all()
            await mesh._wants.close()
            await bus.drain()

    # -- looking ---------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """The bus is there at this moment; it is looked for all the time."""
        return self._bus.connected

    async def status(self) -> MeshStatus:
        """Everything that runs, and how it is. Raises: Unavailable: the bus does not answer."""
        return await snapshot(self._bus)

    async def streams(self) -> list[StreamEntry]:
        """The streams of all nodes, by name. Raises: Unavailable: the bus does not answer."""
        return list((await self.status()).streams)

    def frames(self, stream: str, *, timeout_seconds: float | None = None, consumer: str | None = None) -> FrameStream:
        """Iterate the pictures of a stream of this node, in place: `async for frame in mesh.frames("cam0")`.

        Of a live stream always the newest picture: a slow loop misses some (counted), and is never late.

        Args:
            timeout_seconds: raise an error that says why when no picture comes for so long; None waits for ever
                and logs the reason.
            consumer: the name by which the publisher of a lossless stream knows this application: it then gets every
                picture once, in order, and the publisher waits for it. A picture counts as consumed when the next
                is asked for, or `with frame:` is left without an error; others are sent again.

        Raises, while iterating:
            NoSuchStream, NoFrames: none came within the timeout.
            OtherNode: the pictures are on another host; names it.
            PicturesHeld: the application keeps too many.
        """
        return FrameStream(
            self._bus,
            self.settings,
            self._wants,
            stream,
            application=self.name,
            consumer=consumer,
            timeout_seconds=timeout_seconds,
            keeper=self._keeper,
        )

    def events(
        self, *, service: str | None = None, stream: str | None = None, timeout_seconds: float | None = None
    ) -> EventStream:
        """Iterate what happens from now on: all of it, or of one service, or of what belongs to one stream.

        Args:
            timeout_seconds: raise `NoEvents` when nothing happens for so long; None waits for ever.
        """
        return EventStream(self._bus, self._keeper, service=service, stream=stream, timeout_seconds=timeout_seconds)

    def tell(self, resource: str, name: str, about: FrameRef | None = None, **detail: Any) -> None:
        """Post an event of this application, for rules and whoever listens: `mesh.tell("line1", "ng", frame.ref)` is
        `app.line1.ng`. Never waits; without a bus it is lost, and counted.

        Args:
            about: the picture that it is about: a pulse that a rule gives for it is measured from its capture on.
            detail: JSON values.

        Raises:
            InvalidValue: a name is no id, or the detail is no JSON, or too much: 256 KiB, 64 deep.
        """
        self._bus.post_event(application_event(resource, name, self.settings.node, about, detail))

    def packets(self, stream: str, rendition: str = "main", *, timeout_seconds: float | None = None) -> PacketStream:
        """Iterate a rendition's packets, of any node: `async for packet in mesh.packets("cam0")`.

        Every access unit of every track once, in order, beginning with a key picture; `packet.header` is a
        `PacketHeader`, `packet.payload` its bytes as `schemas.packets` tells.

        Args:
            timeout_seconds: raise `NoPackets` when none comes for so long; None waits for ever.

        Raises, while iterating:
            NotFound: there is no such stream.
            NoPackets: none came within the timeout.
        """
        return PacketStream(
            self._bus,
            self.settings.shm_dir,
            self._wants,
            stream,
            rendition,
            application=self.name,
            timeout_seconds=timeout_seconds,
            keeper=self._keeper,
        )

    # -- publishing ------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def publish(
        self,
        stream: str,
        *,
        width: int,
        height: int,
        pixel_format: PixelFormat = "bgr24",
        fps: float | None = None,
        delivery: Delivery = "live",
        consumer: str | None = None,
        policy: FullPolicy = "wait",
        deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
        slots: int = DEFAULT_SLOTS,
        colour_space: ColourSpace = UNSPECIFIED,
    ) -> AsyncIterator[PublishedStream]:
        """Make a stream whose pictures this application writes: `async with mesh.publish("line1", …) as stream`.

        A stream that did not exist before is removed at the end of the block; one from mesh.yaml (`app://`) stays.

        Args:
            pixel_format: one of `schemas.frames.PixelFormat`; `shared.pixel_formats` has the arrays' shapes and types.
                Pictures with an odd edge cannot be encoded.
            fps: nominal; encoders plan with it.
            delivery: `live`: the newest picture wins, writing never waits. `lossless`: `consumer` gets every one.
            consumer: of a lossless stream: `hw-encode-<rendition>` (`hw-encode-main` when left out; that
                rendition is kept running while this is open), or the `consumer` another application gives to `frames`.
            policy: when the consumer of a lossless stream has no room: `wait` up to `deadline_seconds`, `refuse`
                or `drop`.
            slots: pictures in the ring; a lossless stream has up to two fewer in flight.
            colour_space: how the samples are to be read. Left out, YUV of 720 lines and more is BT.709, and smaller
                pictures are BT.601, of limited range.

        Raises:
            InvalidValue: a size, format, policy or name that cannot be.
            Conflict: the name belongs to a stream that is not an application's.
            OtherNode: the stream shall be written on another host.
            MeshError: capture's own error; Unavailable when it does not run.
        """
        geometry = RingGeometry(pixel_format=pixel_format, width=width, height=height)
        if consumer is not None and delivery == "live":
            raise InvalidValue("consumer", consumer, 'live streams have none; use delivery="lossless"')
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(stream_place(self, self.settings, stream, geometry, fps, delivery))
            shm_dir = self.settings.shm_dir
            epoch = await next_epoch(self._bus, stream, at_least=newest_epoch(shm_dir, stream) + 1)
            gate = None
            if delivery == "lossless":
                consumer = check_id(consumer or DEFAULT_CONSUMER, "consumer")
                window = max(1, slots - _SPARE_SLOTS)
                gate = LosslessGate(stream=stream, epoch=epoch, consumer=consumer, window=window, policy=policy)
                if consumer.startswith(_ENCODER_PREFIX):
                    rendition = consumer.removeprefix(_ENCODER_PREFIX)
                    stack.callback(self._wants.want(self.settings.node, stream, rendition, self.name))
            writer = StreamWriter(
                shm_dir, stream=stream, node=self.settings.node, epoch=epoch, slots=slots, delivery=delivery
            )
            published = PublishedStream(
                self._bus,
                writer,
                geometry,
                fps=fps,
                gate=gate,
                deadline_seconds=deadline_seconds,
                colour_space=colour_space,
            )
            stack.push_async_callback(published.close)
            await published.start()
            yield published
            if not await published.drain(deadline_seconds):
                log.warning("%s ends with pictures that %s has not consumed", stream, consumer)
            if published.counts.written:
                await self._shown(stream)

    @contextlib.asynccontextmanager
    async def transform(
        self, stream: str, rendition: str = "main", *, into: str, make: TransformPacket
    ) -> AsyncIterator[Transform]:
        """Make another rendition out of one's packets: `async with mesh.transform("cam0", into="sealed", make=seal)`.

        It is there until the end of the block, or of the application; its packets are made while somebody wants them.

        Args:
            into: the new rendition's name; not one that encoders make by themselves.
            make: `make(header, payload)` returns the new payload, or None to leave the packet out. Called for every
                track, in order, in a thread of its own. When it raises, the rendition ends; see `Transform.wait`.

        Raises:
            InvalidValue: a name that cannot be.
            NotFound: no such stream or rendition.
            Conflict: an encoder or another application makes a rendition of this name.
            OtherNode: the stream is on another host.
            MeshError: hw-encode's own error; Unavailable when it does not run, or the source's codec is not known yet.
        """
        transform = Transform(
            self._bus,
            self.settings,
            self._wants,
            self._keeper,
            stream=stream,
            rendition=rendition,
            into=into,
            make=make,
            application=self.name,
        )
        await transform.start(self.start_rendition, self.stop_rendition)
        try:
            yield transform
        finally:
            await transform.close()

    async def _shown(self, stream: str) -> None:
        """Wait until capture has seen the stream: one that lives for less than its look has been live all the same."""
        key = state_key("capture", stream)

        def seen(entries: dict[str, Entry]) -> bool:
            actual = read_entry(entries.get(key), StreamActual)
            return actual is not None and actual.state != "connecting"

        try:
            mirror = Mirror(await self._bus.bucket(ACTUAL_BUCKET), key)
        except MeshError:
            return  # the bus is away, and nobody sees anything
        try:
            if not await mirror.wait_for(seen, _SHOWN_SECONDS):
                log.debug("%s ends before capture has seen it", stream)
        finally:
            await mirror.close()

"""The streams that publishers fill: found or made at capture, fed over the bus, taken away again."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec

from schemas.commands import KeyFrameRequest, StartStream, StopStream, StreamChanged
from schemas.errors import Conflict, NotFound
from schemas.ingest import IngestSession
from schemas.packets import UNREADABLE, PacketHeader
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import command, ingest, ingest_key_frame, ingest_session
from services.webrtc_gateway.ingest.publisher import Publisher
from services.webrtc_gateway.ingest.simulcast import layer_names
from services.webrtc_gateway.ingest.terms import SessionTerms
from services.webrtc_gateway.ingest.track import MediaUnit
from shared.bus import Bus, Message, Subscription
from shared.desired import Desired
from shared.packets import packet_messages
from shared.state import StateMirrors

log = logging.getLogger(__name__)

SCHEME = "whip"
TRANSIENT_SOURCE = "whip://?transient=1"
"""Of streams that are made for their publisher: they go when it has gone."""
_START_SECONDS = 5.0
_SAMPLE_RATE, _CHANNELS = 48_000, 2  # RFC 7587 section 7: always so in SDP


class IngestStreams:
    """The bus' side of publishers."""

    def __init__(self, bus: Bus, mirrors: StateMirrors, node: str) -> None:
        self._bus, self._mirrors, self._node = bus, mirrors, node
        self._streams = Desired("capture", StreamSpec, StreamActual, mirrors)
        self._renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)
        self._key_requests: dict[str, Subscription] = {}
        self._nodes: dict[str, str] = {}
        self._seen: set[str] = set()
        """Streams that this copy of the mesh's state has had since they were prepared."""

    async def prepare(self, stream: str) -> None:
        """Have the stream at capture.

        Raises:
            Conflict: it is there and has another source.
            Unavailable: capture does not answer.
        """
        self._seen.discard(stream)
        found = await self._streams.find(stream)
        if found is not None:
            if urlsplit(found[0].source).scheme != SCHEME:
                raise Conflict(f"stream {stream} has its own source; publish under another name, or stop it first")
            self._nodes[stream] = found[0].node or self._node
            return
        here = any(presence.node == self._node for presence in self._mirrors.present("capture"))
        request = StartStream(
            stream=stream,
            source=TRANSIENT_SOURCE,
            node=self._node if here else None,
            revision=0,  # who has declared it meanwhile keeps it
            wait_s=_START_SECONDS,
        )
        changed = await self._bus.request(
            command("capture", "start"), request, StreamChanged, timeout_seconds=_START_SECONDS + 2
        )
        self._nodes[stream] = changed.actual.node if changed.actual else self._node
        log.info("stream %s made for its publisher", stream)

    def with_free_names(self, stream: str, terms: SessionTerms) -> SessionTerms:
        """The terms with layers under names that no other rendition of the stream has."""
        taken = {spec.rendition for _, spec, _, _ in self._renditions.all() if spec.stream == stream}
        if not any(track.layers and taken & set(track.layers.renditions.values()) for track in terms.tracks):
            return terms
        tracks = (
            replace(track, layers=replace(track.layers, renditions=layer_names(tuple(track.layers.renditions), taken)))
            if track.layers
            else track
            for track in terms.tracks
        )
        return replace(terms, tracks=tuple(tracks))

    def is_transient(self, stream: str) -> bool:
        found = self._streams.spec(stream)
        return found is not None and found[0].source == TRANSIENT_SOURCE

    def is_gone(self, stream: str) -> bool:
        """Whether a stream that was prepared has been removed since, or got another source."""
        found = self._streams.spec(stream)
        if found is not None and urlsplit(found[0].source).scheme == SCHEME:
            self._seen.add(stream)
            return False
        # Made a moment ago, it may not have come back over the bus.
        return stream in self._seen

    def deserted(self) -> tuple[str, ...]:
        """Streams that were made for a publisher and have none: whichever gateway made them may have died since."""
        return tuple(
            stream
            for stream, spec, _, _ in self._streams.all()
            if spec.source == TRANSIENT_SOURCE and not self.is_fed(stream)
        )

    def is_fed(self, stream: str) -> bool:
        """Whether somebody publishes it, here or at another gateway."""
        actual = self._streams.actual(stream)
        return actual is not None and actual.state in ("live", "frozen") and not actual.waiting_for

    async def remove(self, stream: str) -> None:
        """Take a stream away that was made for its publisher.

        Raises:
            MeshError: capture or the bus does not answer; try again.
        """
        found = await self._streams.read(stream)
        if found is not None and found[0].source == TRANSIENT_SOURCE:
            # With its revision: who has declared it meanwhile keeps it.
            request = StopStream(stream=stream, revision=found[1])
            with contextlib.suppress(NotFound):  # gone already
                await self._bus.request(command("capture", "stop"), request, StreamChanged)
            log.info("stream %s removed: nobody publishes it", stream)
        self.forget(stream)

    def forget(self, stream: str) -> None:
        """Nobody publishes it here any more."""
        self._seen.discard(stream)
        self._nodes.pop(stream, None)

    # -- while it is published -------------------------------------------------------------------------------

    async def listen(self, stream: str, asked: Callable[[str | None], None]) -> None:
        """Have `asked` called when a key picture is wanted, with the layer or None for all; once per stream."""

        def receive(message: Message) -> None:
            try:
                request = msgspec.json.decode(message.data, type=KeyFrameRequest)
            except UNREADABLE:
                return  # of whoever speaks on the bus by hand
            asked(request.rendition)

        await self.deafen(stream)
        self._key_requests[stream] = await self._bus.subscribe(ingest_key_frame(self._nodes[stream], stream), receive)

    async def deafen(self, stream: str) -> None:
        subscription = self._key_requests.pop(stream, None)
        if subscription is not None:
            await subscription.close()

    def tell(self, publisher: Publisher, ended: str = "") -> None:
        """Say that the stream has this publisher, or why it has it no longer."""
        session = IngestSession(
            stream=publisher.stream,
            run=publisher.run,
            tracks=publisher.track_names,
            layers=publisher.layers,
            ended=ended,
        )
        subject = ingest_session(self._nodes[publisher.stream], publisher.stream)
        self._bus.post(subject, msgspec.json.encode(session))

    def send(self, publisher: Publisher, unit: MediaUnit) -> None:
        """Send one access unit to capture, without waiting."""
        header = PacketHeader(
            stream=publisher.stream,
            rendition=unit.rendition,
            track=unit.track,
            codec=unit.codec or "opus",
            epoch=0,
            sequence=unit.index,
            run=publisher.run,
            index=unit.index,
            key=unit.key,
            pts_ns=unit.pts_ns,
            dts_ns=unit.dts_ns,
            duration_ns=unit.duration_ns,
            captured_ns=unit.captured_ns,
            encoded_ns=unit.arrived_ns,
            sample_rate=0 if unit.codec else _SAMPLE_RATE,
            channels=0 if unit.codec else _CHANNELS,
            reordered=unit.reordered,
            extradata=unit.extradata,
        )
        subject = ingest(self._nodes[publisher.stream], publisher.stream, unit.track)
        for message in packet_messages(header, unit.data, self._bus.max_payload_bytes):
            self._bus.post(subject, message)

    def on_changed(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` when streams come or go; returns what ends that."""
        return self._mirrors.on_desired(changed)

    async def close(self) -> None:
        await asyncio.gather(*(self.deafen(stream) for stream in tuple(self._key_requests)))

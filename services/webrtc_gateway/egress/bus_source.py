"""Renditions for the egress engine, from the bus and the packet ring."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

import msgspec

from schemas.commands import KeyFrameRequest
from schemas.encoding import CODEC_RENDITIONS
from schemas.errors import NotFound
from schemas.ids import compound_id
from schemas.packets import PacketHeader, VideoCodec
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION, command
from services.webrtc_gateway.codecs.video import VIEWER_CODECS
from services.webrtc_gateway.egress.source import REORDERED_WHY, Deliver, NotViewable, Subscription, codec_why
from shared.bus import Bus
from shared.demand import Wants
from shared.desired import Desired
from shared.packet_ring import PacketRingReader
from shared.packets import PacketSubscription
from shared.ring import RingError
from shared.state import StateMirrors
from shared.stream_demand import StreamDemand

PUBLISHED = "whip:"
"""How the sources begin whose sender makes key pictures when asked: a browser."""
_VIDEO_CODECS = frozenset(get_args(VideoCodec))
_NEWS_SECONDS = 1.0  # between a change and this copy of it lie milliseconds


class BusPacketSource:
    """Opens renditions of the mesh; see `source.PacketSource`."""

    def __init__(self, bus: Bus, mirrors: StateMirrors, wants: Wants, folder: Path) -> None:
        self._bus = bus
        self._mirrors = mirrors
        self._streams = Desired("capture", StreamSpec, StreamActual, mirrors)
        self._renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)
        self._wants = wants
        self._folder = folder
        # Of this process: two gateways must not withdraw one another's demand.
        self._consumer = f"webrtc-gateway-{secrets.token_hex(4)}"

    async def open(self, stream: str, rendition: str | None, deliver: Deliver) -> Subscription:
        """Raises:
        NotFound: no such stream or rendition.
        NotViewable: its codec or its B-frames are not for WebRTC.
        Unavailable: the stream is on no node.
        """
        name = rendition or DEFAULT_RENDITION
        await self._catch_up(stream, name)
        demand = StreamDemand(self._mirrors, self._wants, stream=stream, rendition=name, consumer=self._consumer)
        try:
            tracks = self._tracks(stream, name)
            packets = await PacketSubscription.open(self._bus, stream, name, deliver)
        except BaseException:  # a cancellation too: nobody is left who could close it
            demand.close()
            raise
        asks = self._key_frame_subject(stream, name)
        layer = name if self.has_layer(stream, name) else None
        return _BusSubscription(self._bus, stream, name, tracks, packets, demand, self._folder, asks, layer)

    async def _catch_up(self, stream: str, rendition: str) -> None:
        """Who starts a stream or a rendition and views it at once may be here before the news of it."""
        await self._streams.catch_up(stream, _NEWS_SECONDS)
        always = rendition in (SOURCE_RENDITION, DEFAULT_RENDITION, *CODEC_RENDITIONS)
        if not always and not self.has_layer(stream, rendition):
            await self._renditions.catch_up(compound_id(stream, rendition), _NEWS_SECONDS)

    def has_layer(self, stream: str, rendition: str) -> bool:
        """Whether it is one of the sizes that the stream's publisher sends (simulcast), now or a moment ago."""
        source = self._streams.actual(stream)
        return source is not None and any(layer.rendition == rendition for layer in source.layers)

    def _key_frame_subject(self, stream: str, rendition: str) -> str:
        """Where to ask for a key picture; empty: they come when they come, as a camera's do."""
        asked = self._renditions.spec(compound_id(stream, rendition)) if rendition != SOURCE_RENDITION else None
        if asked is not None and asked[0].made_from == SOURCE_RENDITION:
            rendition = SOURCE_RENDITION
        if rendition != SOURCE_RENDITION and not self.has_layer(stream, rendition):
            return command("hw-encode", "keyframe", compound_id(stream, rendition))
        source = self._streams.spec(stream)
        published = source is not None and source[0].source.startswith(PUBLISHED)
        return command("capture", "keyframe", stream) if published else ""

    def video_codec(self, stream: str, rendition: str | None) -> VideoCodec | None:
        name = rendition or DEFAULT_RENDITION
        if name == SOURCE_RENDITION or self.has_layer(stream, name):
            source = self._streams.actual(stream)
            codec = source.video.codec if source and source.video else ""
            return cast(VideoCodec, codec) if codec in _VIDEO_CODECS else None
        asked = self._renditions.spec(compound_id(stream, name))
        if asked is not None:
            return asked[0].codec
        if name == DEFAULT_RENDITION:
            return RenditionSpec(stream=stream).codec
        return next((codec for codec in CODEC_RENDITIONS if codec == name), None)

    def _tracks(self, stream: str, rendition: str) -> tuple[str, ...]:
        codec = self.video_codec(stream, rendition)
        if codec is not None and codec not in VIEWER_CODECS:
            raise NotViewable(stream, rendition, codec_why(codec))
        source = self._streams.actual(stream)
        if rendition == SOURCE_RENDITION or self.has_layer(stream, rendition):
            if source is None or not source.source_tracks:
                raise NotFound(f"{stream} has no packets of its own that can be viewed; view {stream}/main instead")
            return source.source_tracks
        asked = self._renditions.spec(compound_id(stream, rendition))
        if asked is not None and asked[0].b_frames:
            raise NotViewable(stream, rendition, REORDERED_WHY)
        known = self._renditions.actual(compound_id(stream, rendition))
        if known is None and rendition not in (DEFAULT_RENDITION, *CODEC_RENDITIONS):
            raise NotFound(f"{stream} has no rendition {rendition!r}; start it with hw-encode.start")
        if source is None or (source.video is None and source.audio is None):
            return ()  # not open yet, or written by an application: nobody knows yet
        return ("video", "opus") if source.audio else ("video",)


class _BusSubscription:
    """See `source.Subscription`."""

    def __init__(
        self,
        bus: Bus,
        stream: str,
        rendition: str,
        tracks: Sequence[str],
        packets: PacketSubscription,
        demand: StreamDemand,
        folder: Path,
        key_frame_subject: str,
        layer: str | None = None,
    ) -> None:
        """`layer`: that of a publisher which the rendition is."""
        self._bus = bus
        self._key_frame_request = msgspec.json.encode(KeyFrameRequest(rendition=layer))
        self._key_frame_subject = key_frame_subject
        self._stream = stream
        self._packets = packets
        self._demand = demand
        self._folder = folder
        self.rendition = rendition
        self.tracks = tracks

    @property
    def forces_key_frames(self) -> bool:
        return bool(self._key_frame_subject)

    def request_key_frame(self) -> None:
        if self._key_frame_subject:
            self._bus.post(self._key_frame_subject, self._key_frame_request)

    async def cached(self) -> list[tuple[PacketHeader, memoryview]]:
        # The server knows of the subscription before the ring is read, so no packet falls between the two.
        await self._bus.flush()
        # In a thread: 10 MB of a camera's pictures take some 40 ms, in which nobody else would get theirs.
        return await asyncio.to_thread(self._read_ring)

    def on_ended(self, ended: Callable[[str], None]) -> None:
        self._demand.on_removed(lambda: ended("removed"))

    async def close(self) -> None:
        self._demand.close()
        await self._packets.close()

    def _read_ring(self) -> list[tuple[PacketHeader, memoryview]]:
        try:
            with PacketRingReader.open_latest(self._folder, self._stream, self.rendition) as ring:
                return [(header, memoryview(payload)) for header, payload in ring.from_last_key()]
        except (RingError, LookupError):  # no ring on this node (yet): viewers wait for a key frame
            return []

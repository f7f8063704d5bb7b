"""Plays what one publisher sends into a sink: its packets as they are, its pictures and sound while somebody looks."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from schemas.errors import BadRequest
from schemas.ingest import IngestSession
from schemas.packets import PacketHeader, VideoCodec
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from schemas.subjects import SOURCE_RENDITION
from services.capture.sink import StreamSink
from services.capture.sources.decoding import fresh_decoder
from services.capture.sources.ingest_layers import Layer, LayerReport, Layers
from services.capture.sources.on_demand import OnDemandDecoding
from services.capture.sources.sender_clock import Captured
from shared.media.coded_picture import size_of_key

log = logging.getLogger(__name__)

_TICKS_HZ = 1_000_000  # finer than both RTP clocks
_TIME_BASE = Fraction(1, _TICKS_HZ)
_NS_PER_TICK = 1_000_000_000 // _TICKS_HZ
_DECODERS = {"av1": "libdav1d"}  # libav's own decodes with hardware only
_MAX_PIXELS = 139_264 * 256  # H.264 level 6.2 and AV1 level 6; decoders take memory for what a header claims
_SOUND_ALONE_SECONDS = 3.0  # a camera that is promised and does not come; the sound shall not wait for ever


@dataclass(frozen=True)
class _Track:
    """See `decoding.CodedTrack`."""

    type: str
    codec_context: Any


class IngestPlayer:
    """One publisher: live from its first key picture on, or from its first sound where it has no pictures."""

    def __init__(
        self, session: IngestSession, spec: StreamSpec, sink: StreamSink, ask_key: Callable[[str | None], object]
    ) -> None:
        """`ask_key` asks for a key picture of one layer; None: of whatever is sent."""
        self.run = session.run
        self._spec, self._sink, self._ask_key = spec, sink, ask_key
        tracks = [track for track in session.tracks if track == "video" or spec.audio]
        self._expects_video, self._has_sound = "video" in tracks, "opus" in tracks
        # Its own packets would show what masks hide; sound alone is no rendition of the stream either.
        self._carried = not spec.masks
        self._decoding: OnDemandDecoding | None = None
        self._video: VideoInfo | None = None
        self._audio: AudioInfo | None = None
        self.layers = session.layers if self._carried else ()
        """Renditions of the stream beside `source`."""
        self._layers = Layers(session.layers or (SOURCE_RENDITION,))
        self._layer_report = LayerReport(self._layers, sink.layers)
        self._sound_since: float | None = None

    @property
    def followed(self) -> str | None:
        """The layer whose pictures are those of `source`, or will be; None: there are no layers, or none yet."""
        return self._layers.aim if self.layers else None

    def take(self, header: PacketHeader, payload: memoryview) -> None:
        """The next packet, pictures and sound in the order in which they came."""
        if header.track == "video" and self._expects_video:
            self._take_video(header, bytes(payload))  # the one copy: out of the bus' message, for libav and the ring
        elif header.track == "opus" and self._has_sound:
            self._take_sound(header, bytes(payload))

    def _take_video(self, header: PacketHeader, unit: bytes) -> None:
        layer = self._layers.find(header.rendition)
        if layer is None:
            return
        now_ns = header.encoded_ns  # when the gateway had it: this thread may be late
        if layer.is_gap_before(header.index):
            self._gap(layer)
        if layer.waits_for_key and not header.key:
            self._ask_key(layer.rendition)
            return
        if header.key and not self._measure(layer, header, unit):
            self._ask_key(layer.rendition)
            return
        begins_anew, layer.waits_for_key = layer.waits_for_key, False
        layer.heard(len(unit), now_ns)
        if layer.rendition in self.layers and self._publish_layer(layer, header, unit):
            self._ask_key(layer.rendition)
        before = self._layers.followed
        if self._layers.follows(layer, key=header.key, now_ns=now_ns):
            if self._decoding is not None and (begins_anew or layer is not before):
                self._decoding.restart()
            if header.key:
                self._announce(layer, header)
            self._sink.arrived(len(unit))
            self._deliver(self._layers.placed(header), unit)
        elif (wanted := self._layers.wanted(now_ns)) is layer:
            self._ask_key(wanted.rendition)
        if self.layers:
            self._layer_report.tell(now_ns)

    def _gap(self, layer: Layer) -> None:
        layer.waits_for_key = True
        if layer is self._layers.followed:
            self._sink.gap()
        if layer.rendition in self.layers:
            self._sink.layer_gap(layer.rendition)

    def _take_sound(self, header: PacketHeader, packet: bytes) -> None:
        if self._audio is None:
            if self._expects_video and self._video is None and not self._is_alone():
                return
            self._audio = AudioInfo(codec="opus", sample_rate=header.sample_rate, channels=header.channels)
            self._go_live()
        if self._video is None:
            self._sink.heard(len(packet))
        for rendition in self.layers:
            self._sink.layer_packet(rendition, packet, **_fields(header))
        self._deliver(header, packet)

    def _publish_layer(self, layer: Layer, header: PacketHeader, unit: bytes) -> bool:
        return self._sink.layer_packet(layer.rendition, unit, **_fields(header, layer.width, layer.height))

    def _is_alone(self) -> bool:
        """Whether sound has come for so long without a picture that it is taken without."""
        now = time.monotonic()
        if self._sound_since is None:
            self._sound_since = now
        return now - self._sound_since >= _SOUND_ALONE_SECONDS

    def _measure(self, layer: Layer, header: PacketHeader, unit: bytes) -> bool:
        """Know the size of a layer's pictures by a key picture; False: it is damaged."""
        if header.codec == "opus" or header.codec == "aac":
            return False
        try:
            layer.width, layer.height = picture_size(unit, header.codec)
        except (BadRequest, av.FFmpegError) as error:
            log.debug("key picture of no size: %s", error, extra={"stream": self._spec.stream})
            return False
        return True

    def _announce(self, layer: Layer, header: PacketHeader) -> None:
        """Tell of the pictures of `source` with its key pictures."""
        video = VideoInfo(codec=header.codec, width=layer.width, height=layer.height)
        if video != self._video:
            first, self._video = self._video is None, video
            if first and self._has_sound and self._audio is None:
                self._audio = AudioInfo(codec="opus", sample_rate=48_000, channels=2)  # RFC 7587 knows no other
            if first:
                self._go_live()
            else:
                self._sink.changed(video, self._audio, self._tracks())

    def _go_live(self) -> None:
        video = _track("video", self._video.codec) if self._video else None
        self._decoding = OnDemandDecoding(video, _track("audio", "opus") if self._audio else None, self._spec)
        self._sink.live(self._video, self._audio, self._tracks())

    def _tracks(self) -> tuple[str, ...]:
        if not self._carried:
            return ()
        return (*(("video",) if self._video else ()), *(("opus",) if self._audio else ()))

    def _deliver(self, header: PacketHeader, payload: bytes) -> None:
        if self._carried:
            video = self._video if header.track == "video" else None
            size = (video.width, video.height) if video else (0, 0)
            self._sink.packet(payload, **_fields(header, *size))
        if self._decoding is None:
            return
        packet = av.Packet(payload)
        packet.time_base = _TIME_BASE
        packet.pts, packet.dts = header.pts_ns // _NS_PER_TICK, header.dts_ns // _NS_PER_TICK
        packet.is_keyframe = header.key
        captured = Captured(header.captured_ns, "rtcp" if header.captured_ns < header.encoded_ns else "arrival")
        self._decoding.take(packet, header.pts_ns, captured, self._sink, video=header.track == "video")


def _fields(header: PacketHeader, width: int = 0, height: int = 0) -> dict[str, Any]:
    """What a packet keeps on its way through capture."""
    return {
        "track": header.track,
        "codec": header.codec,
        "key": header.key,
        "pts_ns": header.pts_ns,
        "dts_ns": header.dts_ns,
        "duration_ns": header.duration_ns,
        "captured_ns": header.captured_ns,
        "width": width,
        "height": height,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "reordered": header.reordered,
        "extradata": header.extradata,
    }


def _track(kind: str, codec: str) -> _Track:
    context: Any = av.CodecContext.create(_DECODERS.get(codec, codec), "r")
    if kind == "audio":
        context.sample_rate, context.layout = 48_000, "stereo"
    return _Track(kind, context)


def picture_size(unit: bytes, codec: VideoCodec) -> tuple[int, int]:
    """Width and height in pixels of a key picture.

    Raises:
        BadRequest, FFmpegError: it is damaged, or larger than any that is published.
    """
    width, height = size_of_key(unit, codec) or _decoded_size(unit, codec)
    if width * height > _MAX_PIXELS:
        raise BadRequest(f"a key picture of {width}x{height}; {_MAX_PIXELS} pixels are taken")
    return width, height


def _decoded_size(unit: bytes, codec: str) -> tuple[int, int]:
    """Raises:
    BadRequest: no picture comes out.
    """
    decoder = fresh_decoder(_track("video", codec))
    decoder.options = {"max_pixels": str(_MAX_PIXELS)}
    decoder.decode(av.Packet(unit))
    decoder.decode(None)  # decoders with threads hold their first picture back, and its size
    if not (decoder.width and decoder.height):
        raise BadRequest(f"a key picture of {codec} that does not tell its size")
    return decoder.width, decoder.height

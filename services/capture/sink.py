"""Where a source delivers: pictures to the frame ring, sound to the audio subject, packets to rendition `source`.

Used by one source thread. The demand flags are set from the event loop, and while a source is lost another thread
writes pictures in its place (`frames`).
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from schemas.colours import UNSPECIFIED
from schemas.events import Event
from schemas.frames import PixelFormat
from schemas.resources import AudioInfo, LayerInfo, StreamSpec, VideoInfo
from schemas.subjects import RAW, event
from schemas.units import MAX_EDGE_PIXELS
from services.capture.arrivals import Arrivals
from services.capture.frame_writer import About, FrameWriter
from services.capture.rates import RollingRates, Totals
from services.capture.settings import CaptureSettings
from services.capture.shaping import Shaped, Shaper
from services.capture.sound_blocks import RAW_SAMPLE_RATE, Samples, SoundBlocks
from services.capture.source_packets import SourcePackets
from services.capture.stillness import Stillness
from services.capture.voice import VoiceWatch
from shared.fps_limit import FpsLimit
from shared.pixel_formats import Picture
from shared.ring import RingGeometry
from shared.service import Context

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class StreamSink:
    """The receiving end of one stream for one epoch."""

    def __init__(
        self,
        context: Context[CaptureSettings],
        spec: StreamSpec,
        epoch: int,
        live: Callable[[VideoInfo | None, AudioInfo | None, tuple[str, ...]], None],
        decoding: Callable[[bool], None],
        layers: Callable[[tuple[LayerInfo, ...]], None],
        waiting: Callable[[str], None],
        arrival: Callable[[], None],
    ) -> None:
        """Args, called from the source's thread:
        arrival: a picture came after `arrivals.expect`, or another one than before after `stillness.tell_change`.

        Raises:
            InvalidValue: `voice` is asked for, and cannot be had here.
        """
        self.bus = self._bus = context.bus
        self._service = context.service
        self._spec = spec
        self._node = context.node
        self._tell_live = live
        self._tell_decoding = decoding
        self._tell_layers = layers
        self._tell_waiting = waiting
        self._tell_arrival = arrival
        self.epoch = epoch
        self.dropped: Counter[str] = Counter()
        """Pictures left out, by reason: `ring-full`, `fps-limit`, `damaged`, `too-large`, `ingest-full`."""
        self.frames = FrameWriter(context, spec, epoch, self.dropped)
        self.arrivals = Arrivals(arrival)
        self.packets = SourcePackets(context.bus, context.settings, spec, epoch)
        self._sound = SoundBlocks(context.bus, context.node, spec.stream, epoch)
        self._decoding = False
        self._codec = ""
        self._shaping = threading.Lock()  # held while spec, shaper and limit change together
        self._device_does: frozenset[str] = frozenset()
        self._shaper = Shaper(spec)
        self._fps_limit = FpsLimit(spec.fps) if spec.fps else None
        self.stillness: Stillness | None = None
        """Of a stream with `frozen_after`, while its source is open. Sources that do not write pictures now give it
        some to compare, one a second or more."""
        self.voice = VoiceWatch(self.tell) if spec.voice else None
        """Of a stream with `voice`."""
        self.wants_raw = False
        # Read by metrics.
        self.events_dropped = 0
        """What the device told of itself and was left out, because it was too much."""
        self.rates = RollingRates(self._totals)

    def _totals(self) -> Totals:
        come, written = self.arrivals, self.frames
        return Totals(come.pictures, come.at, written.written, written.written_at, come.bytes)

    def set_demand(self, renditions: frozenset[str]) -> None:
        """`renditions`: those that somebody needs now, `RAW` among them."""
        self.wants_raw = RAW in renditions
        self.packets.set_demand(renditions)

    @property
    def audio_blocks(self) -> int:
        """Posted so far."""
        return self._sound.posted

    @property
    def wants_sound(self) -> bool:
        """Somebody takes the sound, or listens for voices in it."""
        return self.wants_raw or self.voice is not None

    # -- what a source says of itself ------------------------------------------------------------------------

    def lost(self) -> None:
        """The source no longer delivers."""
        self.arrivals.lost()
        self.stillness = None
        if voice := self.voice:
            voice.lost()
        self._decoding = False
        # Not a new run: ring, sequences and epoch go on, and so do consumers, from the next key picture.
        self.gap()
        self.layer_gap()

    def live(
        self,
        video: VideoInfo | None,
        audio_info: AudioInfo | None,
        source_tracks: tuple[str, ...],
        *,
        device_does: Iterable[str] = (),
    ) -> None:
        """The source is open, and pictures will come; the stream is live from the first one on.

        `device_does`: fields of the spec (`crop`, `fps`) that the device sees to until it is opened again; they are not
        done once more to its pictures.
        """
        self.frames.check_open()
        with self._shaping:
            self._device_does = frozenset(device_does)
            self._shape_as(self._spec)
            self._fps_limit = self._limit_of(self._spec)
        self.frames.times_anew()
        self.packets.times_anew()
        self.arrivals.opened()
        self._codec = video.codec if video else ""
        self._watch_stillness(afresh=True)
        self._tell_live(video, audio_info, source_tracks)

    def changed(self, video: VideoInfo | None, audio_info: AudioInfo | None, source_tracks: tuple[str, ...]) -> None:
        """What comes is another form of the same, and goes on: pictures of another size."""
        self._tell_live(video, audio_info, source_tracks)

    def gap(self) -> None:
        """Packets are missing before the next: who takes them waits for a key picture."""
        self.packets.gap()

    def layer_gap(self, rendition: str | None = None) -> None:
        """`gap`, of one layer or of all."""
        self.packets.layers.gap(rendition)

    def layers(self, layers: tuple[LayerInfo, ...]) -> None:
        """The sizes that a publisher sends its pictures in; shown in the stream's state."""
        self._tell_layers(layers)

    def expect_layer(self, rendition: str) -> None:
        """Somebody begins to take this layer."""
        self.packets.layers.expect(rendition)

    def waiting(self, what: str) -> None:
        """The source is open, and no picture can come before something happens: `the application`, `a trigger`."""
        self.arrivals.expect()
        self._tell_waiting(what)

    def decoding(self, now: bool) -> None:
        """The source has begun or ended to write pictures; shown in the stream's state."""
        if now != self._decoding:
            self._decoding = now
            self._tell_decoding(now)

    def arrived(self, payload_bytes: int = 0, pictures: int = 1) -> None:
        """The source has sent a picture, looked at or not; of packets, their size."""
        self.frames.check_open()
        self.arrivals.note(payload_bytes, pictures)

    def heard(self, payload_bytes: int = 0) -> None:
        """A source that has no pictures has sent sound."""
        self.arrived(payload_bytes, pictures=0)

    def tell(self, name: str, detail: dict[str, Any]) -> None:
        """Post an event of the stream that the device itself has told; from any thread. Whoever calls bounds them."""
        item = Event(
            service=self._service,
            id=self._spec.stream,
            event=name,
            node=self._node,
            at_ns=time.time_ns(),
            detail=detail,
        )
        self._bus.post_from_thread(event(item.service, item.id, item.event), msgspec.json.encode(item))

    # -- how pictures shall be -------------------------------------------------------------------------------

    def adjust(self, spec: StreamSpec) -> None:
        """Take a changed spec on, from the next picture.

        Raises:
            InvalidValue: the pictures that come cannot be made so, or voices cannot be heard here; all is as it was.
        """
        voice = self.voice
        if spec.voice != (voice is not None):
            voice = VoiceWatch(self.tell) if spec.voice else None
        with self._shaping:
            before = self._spec
            self._shaper_of(spec).check_pictures_of(self._shaper)
            self._shape_as(spec)
            if spec.fps != before.fps:
                self._fps_limit = self._limit_of(spec)
        if spec.masks != before.masks:
            self.frames.hide()
        before_voice, self.voice = self.voice, voice
        if before_voice is not None and voice is None:
            before_voice.close()
        self._watch_stillness(afresh=False)

    def _shape_as(self, spec: StreamSpec) -> None:
        self._shaper = self._shaper_of(spec)
        self._spec = self.frames.spec = spec
        self.packets.history = spec.history

    def _shaper_of(self, spec: StreamSpec) -> Shaper:
        return Shaper(msgspec.structs.replace(spec, **dict.fromkeys(self._device_does)))

    def _limit_of(self, spec: StreamSpec) -> FpsLimit | None:
        return FpsLimit(spec.fps) if spec.fps and "fps" not in self._device_does else None

    def _watch_stillness(self, *, afresh: bool) -> None:
        if self._spec.frozen_after is None:
            self.stillness = None
        elif afresh or self.stillness is None:
            self.stillness = Stillness(self._codec, self._tell_arrival)

    # -- pictures, sound, packets ----------------------------------------------------------------------------

    def frame(self, frame: "VideoFrame", **about: Unpack[About]) -> None:
        """Shape a decoded picture as the stream's settings say and write it; errors as of `picture`.

        Raises:
            InvalidValue: what is asked for cannot be had of this picture: a crop beyond it, a mosaic of another.
        """
        if self._fits(frame.width, frame.height) and self._due(about["pts_ns"]):
            shaper = self._shaper
            self.frames.write(shaper.frame(frame), shaper.masks, self.stillness, about)

    def image(self, array: Picture, pixel_format: PixelFormat, **about: Unpack[About]) -> None:
        """`frame`, of an array as in `shared.pixel_formats`; it keeps its format unless the settings name another."""
        if self._fits(*array.shape[1::-1]) and self._due(about["pts_ns"]):
            shaper = self._shaper
            shaped = shaper.image(array, pixel_format, about.get("colour_space", UNSPECIFIED))
            self.frames.write(shaped, shaper.masks, self.stillness, about)

    def picture(self, geometry: RingGeometry, fill: Callable[[Picture], None], **about: Unpack[About]) -> None:
        """Write one picture into the ring by `fill(array)`, as it is, and publish its reference; dropped when no slot
        is free.

        Raises:
            Superseded: a newer writer has the stream.
            OutOfSpace: shared memory is too small for a ring of this geometry.
        """
        shaped = Shaped(geometry, fill, about.get("colour_space", UNSPECIFIED))
        self.frames.write(shaped, (), self.stillness, about)

    def _fits(self, width: int, height: int) -> bool:
        if max(width, height) <= MAX_EDGE_PIXELS:
            return True
        self.dropped["too-large"] += 1
        return False

    def _due(self, pts_ns: int) -> bool:
        limit = self._fps_limit
        if limit is None or limit.admit(pts_ns):
            return True
        self.dropped["fps-limit"] += 1
        return False

    def sound(self, samples: Samples, *, pts_ns: int, captured_ns: int) -> None:
        """A block of interleaved s16 samples at 48 kHz, shape (samples, channels): for the bus and for who listens."""
        self.frames.check_open()
        if voice := self.voice:
            voice.take(samples, captured_ns, time.monotonic())
        if not self.wants_raw:
            return
        placed_ns = self.frames.place_sound(pts_ns, samples.shape[0] * 1_000_000_000 // RAW_SAMPLE_RATE)
        self._sound.post(samples, placed_ns, captured_ns)

    def packet(self, payload: bytes, **fields: Any) -> None:
        """Forward one of the source's own packets; arguments as of `SourcePackets.publish`."""
        self.frames.check_open()
        self.packets.publish(payload, **fields)

    def layer_packet(self, rendition: str, payload: bytes, **fields: Any) -> bool:
        """Forward a packet of one layer; arguments and result as of `SourcePackets.publish_layer`."""
        self.frames.check_open()
        return self.packets.publish_layer(rendition, payload, **fields)

    def close(self) -> None:
        """Take the rings away. Readers keep what they hold. A thread that was left behind may no longer write."""
        self.frames.close()
        if self.voice:
            self.voice.close()
        self.packets.close()

"""Where a source delivers: pictures to the frame ring, sound to the audio subject, packets to rendition `source`.

Used by one source thread. The demand flags are set from the event loop, and while a source is lost another thread
writes pictures in its place.
"""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.events import Event
from schemas.frames import AudioHeader, Clock, FrameRef, PixelFormat
from schemas.packets import pack
from schemas.pictures import Mask
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from schemas.subjects import SOURCE_RENDITION, audio, event, frames
from schemas.units import MAX_EDGE_PIXELS
from services.capture.cadence import Cadence
from services.capture.continuity import Continuity
from services.capture.rates import RollingRates, Totals
from services.capture.settings import CaptureSettings
from services.capture.shaping import Shaped, Shaper
from services.capture.stillness import RingPicture, Stillness, luma_of
from shared.fps_limit import FpsLimit
from shared.media import timecode
from shared.packets import PacketPublisher
from shared.pixel_formats import Picture
from shared.ring import RingGeometry, StreamWriter
from shared.ring.slot import NO_METADATA, Metadata
from shared.service import Context

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

__all__ = ["RAW_SAMPLE_RATE", "Picture", "Samples", "StreamSink"]

Samples = npt.NDArray[np.int16]
RAW_SAMPLE_RATE = 48_000  # one form of sound for the whole mesh: what Opus wants, and what mixers can add up
MAX_METADATA_ENTRIES: Final = 32
MAX_METADATA_CHARACTERS: Final = 256  # of one value; a reference stays a small message
_CLOSE_SECONDS = 0.2  # a copy of a picture takes milliseconds; the event loop waits for it
_encode_ref = msgspec.json.Encoder().encode


class StreamSink:
    """The receiving end of one stream for one epoch."""

    def __init__(
        self,
        context: Context[CaptureSettings],
        spec: StreamSpec,
        epoch: int,
        live: Callable[[VideoInfo | None, AudioInfo | None, tuple[str, ...]], None],
        decoding: Callable[[bool], None],
        waiting: Callable[[str], None],
        arrival: Callable[[], None],
    ) -> None:
        """Args, called from the source's thread:
        arrival: a picture came after `expect`, or another one than before after `expect_change`.
        """
        settings = context.settings
        self._bus = context.bus
        self._service = context.service
        self._spec = spec
        self._node = context.node
        self._settings = settings
        self._tell_live = live
        self._tell_decoding = decoding
        self._tell_waiting = waiting
        self._tell_arrival = arrival
        self._frames_subject = frames(context.node, spec.stream)
        self._audio_subject = audio(context.node, spec.stream)
        self.epoch = epoch
        self._writer = StreamWriter(
            settings.shm_dir,
            stream=spec.stream,
            node=context.node,
            epoch=epoch,
            slots=settings.ring_slots,
            delivery=spec.delivery,
        )
        self._packets: PacketPublisher | None = None
        self._audio_sequence = 0
        self._decoding = False
        self._expecting = True
        self._closed = False
        self._codec = ""
        # Held while a picture is written: one that stands in for a lost source comes from another thread.
        self._writing = threading.Lock()
        self._raw_times = Continuity()
        self._packet_times = Continuity(patience_seconds=0.0)  # their order is of decoding, and must stay
        self._shaping = threading.Lock()  # held while spec, shaper and limit change together
        self._device_does: frozenset[str] = frozenset()
        self._shaper = Shaper(spec)
        self._fps_limit = FpsLimit(spec.fps) if spec.fps else None
        self._newest_ref: FrameRef | None = None
        self._newest_masks: tuple[Mask, ...] | None = None  # what is hidden in it; None: it is none of the source's
        self._not_shown = 0
        """Sequence of the last picture that is not to be shown as the source's, by the masks of now."""
        self.cadence = Cadence()
        self.opened_at: float | None = None
        """Monotonic seconds; None while the source is not open."""
        self.first_arrival_at: float | None = None
        """Monotonic seconds of the first picture since the source was opened."""
        self.stillness: Stillness | None = None
        """Of a stream with `frozen_after`, while its source is open. Sources that do not write pictures now give it
        some to compare, one a second or more."""
        self.wants_raw = False
        self._wants_packets = False
        # Counters, read by metrics.
        self.frames_written = 0
        self.dropped: Counter[str] = Counter()
        """Pictures left out, by reason: `ring-full`, `fps-limit`, `damaged`, `too-large`."""
        self.frames_stood_in = 0
        """Written in place of a lost source's."""
        self._newest_at = 0
        self.packets_forwarded = 0
        self.audio_blocks = 0
        self.events_dropped = 0
        """What the device told of itself and was left out, because it was too much."""
        self.last_frame_ns = 0
        self.pictures_arrived = 0
        self.bytes_arrived = 0
        self.last_arrival_ns = 0
        self.arrived_at = self.written_at = 0.0
        """Monotonic seconds of the newest picture that came, and that was written."""
        self.rates = RollingRates(
            lambda: Totals(
                self.pictures_arrived, self.arrived_at, self.frames_written, self.written_at, self.bytes_arrived
            )
        )

    def set_demand(self, *, raw: bool, packets: bool) -> None:
        self.wants_raw, self._wants_packets = raw, packets

    # -- what a source says of itself ------------------------------------------------------------------------

    def lost(self) -> None:
        """The source no longer delivers."""
        self.opened_at = None
        self.stillness = None
        self._decoding = False
        self._expecting = True
        # Not a new run: ring, sequences and epoch go on, and so do consumers, from the next key picture.
        if self._packets:
            self._packets.gap()

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
        self._check_open()
        with self._shaping:
            self._device_does = frozenset(device_does)
            self._shape_as(self._spec)
            self._fps_limit = self._limit_of(self._spec)
        with self._writing:  # another thread may still be placing a picture
            self._raw_times.anew()
        self._packet_times.anew()
        self.first_arrival_at = None
        self.opened_at = time.monotonic()
        self._expecting = True
        self._codec = video.codec if video else ""
        self._watch_stillness(afresh=True)
        self._tell_live(video, audio_info, source_tracks)

    def waiting(self, what: str) -> None:
        """The source is open, and no picture can come before something happens: `the application`, `a trigger`."""
        self._expecting = True
        self._tell_waiting(what)

    def decoding(self, now: bool) -> None:
        """The source has begun or ended to write pictures; shown in the stream's state."""
        if now != self._decoding:
            self._decoding = now
            self._tell_decoding(now)

    def arrived(self, payload_bytes: int = 0, pictures: int = 1) -> None:
        """The source has sent a picture, looked at or not; of packets, their size."""
        self.pictures_arrived += pictures
        self.heard(payload_bytes)

    def heard(self, payload_bytes: int = 0) -> None:
        """A source that has no pictures has sent sound."""
        self._check_open()
        now = time.monotonic()
        if self.first_arrival_at is None:
            self.first_arrival_at = now
        else:
            self.cadence.note(now - self.arrived_at)
        self.bytes_arrived += payload_bytes
        self.last_arrival_ns = time.time_ns()
        self.arrived_at = now
        if self._expecting:
            self._expecting = False
            self._tell_arrival()

    def expect(self) -> None:
        """Ask to be told of the next picture."""
        self._expecting = True

    def adjust(self, spec: StreamSpec) -> None:
        """Take a changed spec on, from the next picture.

        Raises:
            InvalidValue: the pictures that come cannot be made so; all is as it was.
        """
        with self._shaping:
            before = self._spec
            self._shaper_of(spec).check_pictures_of(self._shaper)
            self._shape_as(spec)
            if spec.fps != before.fps:
                self._fps_limit = self._limit_of(spec)
        if spec.masks != before.masks:
            self._not_shown = self._writer.last_sequence
        self._watch_stillness(afresh=False)

    def _shape_as(self, spec: StreamSpec) -> None:
        self._shaper = self._shaper_of(spec)
        self._spec = spec

    def _shaper_of(self, spec: StreamSpec) -> Shaper:
        return Shaper(msgspec.structs.replace(spec, **dict.fromkeys(self._device_does)))

    def _limit_of(self, spec: StreamSpec) -> FpsLimit | None:
        return FpsLimit(spec.fps) if spec.fps and "fps" not in self._device_does else None

    def _watch_stillness(self, *, afresh: bool) -> None:
        if self._spec.frozen_after is None:
            self.stillness = None
        elif afresh or self.stillness is None:
            self.stillness = Stillness(self._codec, self._tell_arrival)

    @property
    def good_seconds(self) -> float:
        """For how long pictures came since the source was opened last."""
        return self.arrived_at - self.first_arrival_at if self.first_arrival_at is not None else 0.0

    def _check_open(self) -> None:
        """Raises:
        RuntimeError: the sink is closed: this thread was left behind, and must end.
        """
        if self._closed:
            raise RuntimeError("the stream has gone on without this source")

    @property
    def superseded(self) -> bool:
        """A writer with a newer epoch has taken the stream over: this one must stop."""
        return self._writer.superseded

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

    # -- pictures, sound, packets ----------------------------------------------------------------------------

    def frame(
        self,
        frame: "VideoFrame",
        *,
        pts_ns: int,
        duration_ns: int = 0,
        captured_ns: int | None = None,
        clock: Clock = "arrival",
        exposure_ns: int = 0,
        metadata: Metadata = NO_METADATA,
    ) -> None:
        """Shape a decoded picture as the stream's settings say and write it; arguments and errors as of `picture`.

        Raises:
            InvalidValue: what is asked for cannot be had of this picture: a crop beyond it, a mosaic of another.
        """
        if not self._fits(frame.width, frame.height) or not self._due(pts_ns):
            return
        shaper = self._shaper
        about = (pts_ns, duration_ns, captured_ns, clock, exposure_ns, metadata)
        self._write(shaper.frame(frame), shaper, *about)

    def image(
        self,
        array: Picture,
        pixel_format: PixelFormat,
        *,
        pts_ns: int,
        duration_ns: int = 0,
        captured_ns: int | None = None,
        clock: Clock = "arrival",
        exposure_ns: int = 0,
        metadata: Metadata = NO_METADATA,
    ) -> None:
        """`frame`, of an array as in `shared.pixel_formats`; it keeps its format unless the settings name another."""
        if not self._fits(*array.shape[1::-1]) or not self._due(pts_ns):
            return
        shaper = self._shaper
        about = (pts_ns, duration_ns, captured_ns, clock, exposure_ns, metadata)
        self._write(shaper.image(array, pixel_format), shaper, *about)

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

    def picture(
        self,
        geometry: RingGeometry,
        fill: Callable[[Picture], None],
        *,
        pts_ns: int,
        duration_ns: int = 0,
        captured_ns: int | None = None,
        clock: Clock = "arrival",
        exposure_ns: int = 0,
        metadata: Metadata = NO_METADATA,
    ) -> None:
        """Write one picture into the ring by `fill(array)`, as it is, and publish its reference; dropped when no slot
        is free.

        Args:
            geometry: pixel format and size of what `fill` writes.
            pts_ns: on the stream's timeline.
            captured_ns: CLOCK_REALTIME; None means now, the instant of writing.
            metadata: by the device's own names; beyond 32 entries it is cut off.

        Raises:
            Superseded: a newer writer has the stream.
            OutOfSpace: shared memory is too small for a ring of this geometry.
        """
        self._write(Shaped(geometry, fill), None, pts_ns, duration_ns, captured_ns, clock, exposure_ns, metadata)

    def _write(
        self,
        shaped: Shaped,
        shaper: Shaper | None,
        pts_ns: int,
        duration_ns: int,
        captured_ns: int | None,
        clock: Clock,
        exposure_ns: int,
        metadata: Metadata,
    ) -> None:
        geometry, spec = shaped.geometry, self._spec
        with self._writing:
            self._check_open()
            slot = self._writer.acquire(geometry)
            if slot is None:
                self.dropped["ring-full"] += 1
                return
            try:
                shaped.fill(slot.array)
                if (stillness := self.stillness) is not None:
                    stillness.compare(luma_of(slot.array, geometry))
                now_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
                if spec.timecode:
                    timecode.burn(slot.array, now_ns // 1_000_000, geometry.pixel_format)
            except BaseException:
                slot.abandon()
                raise
            captured = now_ns if captured_ns is None else captured_ns
            ref: FrameRef = slot.commit(
                pts_ns=self._raw_times.place("video", pts_ns, duration_ns),
                captured_ns=captured,
                monotonic_ns=monotonic_ns - (now_ns - captured),
                duration_ns=duration_ns,
                clock=clock,
                exposure_ns=exposure_ns,
                metadata=_bounded(metadata) if metadata else NO_METADATA,
            )
            # Not the spec's of now: it may have changed while the picture was made.
            self._publish(ref, shaper.masks if shaper else ())
            self.frames_written += 1
        self.last_frame_ns = now_ns
        self.written_at = monotonic_ns / 1e9

    def _publish(self, ref: FrameRef, masks: tuple[Mask, ...] | None) -> None:
        if masks != self._spec.masks:
            self._not_shown = ref.sequence
        self._newest_ref, self._newest_masks = ref, masks
        self._newest_at = time.monotonic_ns()
        self._bus.post_from_thread(self._frames_subject, _encode_ref(ref))

    # -- in place of a lost source, from another thread ------------------------------------------------------

    @property
    def newest(self) -> FrameRef | None:
        """The picture that was written last."""
        return self._newest_ref

    def shows(self, ref: FrameRef) -> bool:
        """Whether a picture of this sink is the source's, and shows nothing that the masks of now hide."""
        return ref.sequence > self._not_shown

    def stand_in(self, geometry: RingGeometry, picture: RingPicture, written: int) -> bool:
        """Write a picture that is not the source's; False: not now, the source writes again.

        `written`: `frames_written` when the source was seen to be lost.
        """
        with self._turn(written) as free:
            return free and self._put(geometry, picture, None)

    def repeat(self, written: int) -> bool:
        """Write the newest picture again, as old as it is; False: there is none that may be shown, or as `stand_in`."""
        with self._turn(written) as free:
            newest, original = self._writer.newest, self._newest_ref
            if not free or newest is None or original is None or self._newest_masks not in (None, self._spec.masks):
                return False
            # Copied within the ring: readers take the newest slot, and one that joins now has not seen the old
            # reference.
            return self._put(*newest, original)

    @contextlib.contextmanager
    def _turn(self, written: int) -> Iterator[bool]:
        """Whether a picture may be written in place of the source's, until the end of the block."""
        if not self._writing.acquire(blocking=False):
            yield False
            return
        try:
            yield not self._closed and self.frames_written == written
        finally:
            self._writing.release()

    def _put(self, geometry: RingGeometry, picture: RingPicture, original: FrameRef | None) -> bool:
        # What is copied must not be written to. Slots that were never written have sequence 0.
        slot = self._writer.acquire(geometry, protect=(original.sequence,) if original else ())
        if slot is None:
            self.dropped["ring-full"] += 1
            return False
        try:
            np.copyto(slot.array, picture)
        except BaseException:
            slot.abandon()
            raise
        after_ns = time.monotonic_ns() - self._newest_at if self._newest_ref else 0
        ref = slot.commit(
            pts_ns=self._raw_times.follow("video", after_ns),
            captured_ns=original.captured_ns if original else time.time_ns(),
            monotonic_ns=original.monotonic_ns if original else time.monotonic_ns(),
            clock=original.clock if original else "arrival",
        )
        self._publish(ref, self._newest_masks if original else None)
        self.frames_stood_in += 1
        return True

    def sound(self, samples: Samples, *, pts_ns: int, captured_ns: int) -> None:
        """Publish a block of interleaved s16 samples at 48 kHz, shape (samples, channels)."""
        self._check_open()
        self._audio_sequence += 1
        duration_ns = samples.shape[0] * 1_000_000_000 // RAW_SAMPLE_RATE
        with self._writing:  # sound goes on while pictures that stay away are stood in for
            placed_ns = self._raw_times.place("audio", pts_ns, duration_ns)
        header = AudioHeader(
            stream=self._spec.stream,
            node=self._node,
            epoch=self.epoch,
            sequence=self._audio_sequence,
            sample_rate=RAW_SAMPLE_RATE,
            channels=samples.shape[1],
            sample_format="s16",
            samples=samples.shape[0],
            pts_ns=placed_ns,
            captured_ns=captured_ns,
        )
        # One small copy (4 kB): the message must outlive the decoder's buffer.
        self._bus.post_from_thread(self._audio_subject, pack(header, samples.tobytes()))
        self.audio_blocks += 1

    def packet(self, payload: bytes, *, track: str, pts_ns: int, dts_ns: int, **fields: Any) -> None:
        """Forward one of the source's own packets (fields of `PacketHeader`) as rendition `source`."""
        self._check_open()
        if self._packets is None:
            self._packets = PacketPublisher(
                self._bus,
                self._settings.shm_dir,
                stream=self._spec.stream,
                rendition=SOURCE_RENDITION,
                run=self.epoch,
                ring_seconds=self._settings.packet_ring_seconds,
                ring_bytes=self._settings.packet_ring_bytes,
            )
        self._packets.on_bus = self._wants_packets
        placed_ns = self._packet_times.place(track, dts_ns, fields.get("duration_ns", 0))
        self._packets.publish(
            payload, track=track, pts_ns=pts_ns + placed_ns - dts_ns, dts_ns=placed_ns, epoch=self.epoch, **fields
        )
        self.packets_forwarded += 1

    def close(self) -> None:
        """Take the rings away. Readers keep what they hold. A thread that was left behind may no longer write."""
        self._closed = True
        # One that hangs within a picture holds its slot: that ring lies there until the process ends, superseded.
        if self._writing.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._writer.close()
            finally:
                self._writing.release()
        if self._packets:
            self._packets.close()


def _bounded(metadata: Metadata) -> Metadata:
    return {
        name: value[:MAX_METADATA_CHARACTERS] if isinstance(value, str) else value
        for name, value in islice(metadata.items(), MAX_METADATA_ENTRIES)
    }

"""Where a source delivers: pictures to the frame ring, sound to the audio subject, packets to rendition `source`.

Used by one source thread; only the demand flags are set from the event loop.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.frames import AudioHeader, Clock, FrameRef
from schemas.packets import pack
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from schemas.subjects import SOURCE_RENDITION, audio, frames
from services.capture.rates import RollingRates, Totals
from services.capture.settings import CaptureSettings
from shared.media import timecode
from shared.packets import PacketPublisher
from shared.ring import RingGeometry, StreamWriter
from shared.service import Context

log = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]
RAW_SAMPLE_RATE = 48_000  # one form of sound for the whole mesh: what Opus wants, and what mixers can add up
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
    ) -> None:
        settings = context.settings
        self._bus = context.bus
        self._spec = spec
        self._node = context.node
        self._settings = settings
        self._tell_live = live
        self._tell_decoding = decoding
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
        self._live_since: float | None = None
        self.wants_raw = False
        self._wants_packets = False
        # Counters, read by metrics.
        self.frames_written = 0
        self.frames_dropped = 0
        self.packets_forwarded = 0
        self.audio_blocks = 0
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
        self._live_since = None
        self._decoding = False
        # Not a new run: ring, sequences and epoch go on, and so do consumers, from the next key picture.
        if self._packets:
            self._packets.gap()

    def live(self, video: VideoInfo | None, audio_info: AudioInfo | None, source_tracks: tuple[str, ...]) -> None:
        """The source is open and delivering."""
        self._live_since = time.monotonic()
        self._tell_live(video, audio_info, source_tracks)

    def decoding(self, now: bool) -> None:
        """The source has begun or ended to write pictures; shown in the stream's state."""
        if now != self._decoding:
            self._decoding = now
            self._tell_decoding(now)

    def arrived(self, payload_bytes: int = 0) -> None:
        """The source has sent a picture, looked at or not; of packets, their size."""
        self.pictures_arrived += 1
        self.bytes_arrived += payload_bytes
        self.last_arrival_ns = time.time_ns()
        self.arrived_at = time.monotonic()

    def adjust(self, spec: StreamSpec) -> None:
        """Take a changed spec on, from the next picture."""
        self._spec = spec

    @property
    def live_seconds(self) -> float:
        """How long the source has been live; 0 when it never was."""
        return time.monotonic() - self._live_since if self._live_since is not None else 0.0

    @property
    def superseded(self) -> bool:
        """A writer with a newer epoch has taken the stream over: this one must stop."""
        return self._writer.superseded

    # -- pictures, sound, packets ----------------------------------------------------------------------------

    def picture(
        self,
        geometry: RingGeometry,
        fill: Callable[[Picture], None],
        *,
        pts_ns: int,
        duration_ns: int = 0,
        captured_ns: int | None = None,
        clock: Clock = "arrival",
    ) -> None:
        """Write one picture into the ring by `fill(array)` and publish its reference; dropped when no slot is free.

        Args:
            geometry: pixel format and size of what `fill` writes.
            pts_ns: on the stream's timeline.
            captured_ns: CLOCK_REALTIME; None means now, the instant of writing.

        Raises:
            Superseded: a newer writer has the stream.
            OutOfSpace: shared memory is too small for a ring of this geometry.
        """
        slot = self._writer.acquire(geometry)
        if slot is None:
            self.frames_dropped += 1
            return
        try:
            fill(slot.array)
            now_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
            if self._spec.timecode:
                timecode.burn(slot.array, now_ns // 1_000_000, geometry.pixel_format)
        except BaseException:
            slot.abandon()
            raise
        captured = now_ns if captured_ns is None else captured_ns
        ref: FrameRef = slot.commit(
            pts_ns=pts_ns,
            captured_ns=captured,
            monotonic_ns=monotonic_ns - (now_ns - captured),
            duration_ns=duration_ns,
            clock=clock,
        )
        self._bus.post_from_thread(self._frames_subject, _encode_ref(ref))
        self.frames_written += 1
        self.last_frame_ns = now_ns
        self.written_at = monotonic_ns / 1e9

    def sound(self, samples: Samples, *, pts_ns: int, captured_ns: int) -> None:
        """Publish a block of interleaved s16 samples at 48 kHz, shape (samples, channels)."""
        self._audio_sequence += 1
        header = AudioHeader(
            stream=self._spec.stream,
            node=self._node,
            epoch=self.epoch,
            sequence=self._audio_sequence,
            sample_rate=RAW_SAMPLE_RATE,
            channels=samples.shape[1],
            sample_format="s16",
            samples=samples.shape[0],
            pts_ns=pts_ns,
            captured_ns=captured_ns,
        )
        # One small copy (4 kB): the message must outlive the decoder's buffer.
        self._bus.post_from_thread(self._audio_subject, pack(header, samples.tobytes()))
        self.audio_blocks += 1

    def packet(self, payload: bytes, **fields: Any) -> None:
        """Forward one of the source's own packets (fields of `PacketHeader`) as rendition `source`."""
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
        self._packets.publish(payload, epoch=self.epoch, **fields)
        self.packets_forwarded += 1

    def close(self) -> None:
        """Take the rings away. Readers keep what they hold."""
        self._writer.close()
        if self._packets:
            self._packets.close()

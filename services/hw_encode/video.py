"""The video thread of one rendition: references in, pictures leased in the ring, packets out."""

import logging
import threading
import time
from collections.abc import Callable

import msgspec
from av.video.frame import PictureType, VideoFrame

from schemas.errors import MeshError
from schemas.frames import FrameAck, FrameRef
from schemas.resources import RenditionSpec, VideoInfo
from schemas.units import NS_PER_SECOND, parse_duration
from services.hw_encode.active_encoder import ActiveEncoder
from services.hw_encode.codecs import Codecs
from services.hw_encode.credits import OwedCredits
from services.hw_encode.encoders import Choice
from services.hw_encode.libav_codec import TIME_BASE
from services.hw_encode.picture_queue import PictureQueue
from services.hw_encode.pictures import ConversionCounts, Pictures, PictureSource
from services.hw_encode.placement import wanted_size
from services.hw_encode.rendition_packets import Inside, RenditionPackets
from shared.fps_limit import FpsLimit
from shared.lossless_order import LosslessOrder
from shared.metrics import STAGE_BOUNDS_SECONDS, Distribution
from shared.packets import PacketPublisher
from shared.ring import Lease, LeaseError, RingReader

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5  # how often an idle thread looks whether it shall end
# An encoder with B-frames gives up its last pictures when none has come for so long, and for so many distances of two:
# whoever records a stream that has ended has all of it, and a slow one has no key picture each time.
_FINISH_AFTER_SECONDS, _FINISH_AFTER_PICTURES = 2.0, 4
# What needs an encoder opened afresh, besides what needs another run.
_OF_ENCODER = (
    "size", "fit", "bitrate", "rate_control", "quality", "max_bitrate", "b_frames", "fps", "encoder", "preset",
)  # fmt: skip
_KEY_FRAME_MIN_GAP_SECONDS = 0.25  # requests closer than this are served by the key frame that was just made


class VideoCounts(msgspec.Struct):
    encoded: int = 0
    key_frames: int = 0
    missed: int = 0
    """References whose picture was overwritten or gone."""
    left_out: int = 0
    """Pictures above the rendition's rate."""
    lost: int = 0
    """Pictures inside an encoder that failed."""


class VideoEncoder:
    """Encodes the pictures of one stream until stopped."""

    def __init__(
        self,
        spec: RenditionSpec,
        reader: RingReader,
        publisher: PacketPublisher,
        *,
        on_running: Callable[[Choice, VideoInfo], None],
        on_failed: Callable[[RenditionSpec, MeshError], None],
        on_encoded: Callable[[float], None],
        acknowledge: Callable[[FrameAck], None],
        on_bound: Callable[[int], None] = lambda queue: None,
        pictures: Pictures | None = None,
        codecs: Codecs | None = None,
        on_restarted: Callable[[Choice, str], None] = lambda choice, why: None,
    ) -> None:
        """Args:
        on_running: called from the thread when an encoder has been opened.
        on_failed: called from the thread when no encoder works for that spec; the thread goes on trying with new
            pictures.
        on_encoded: called from the thread with the seconds from capture to packet, once per picture.
        acknowledge: gives a lossless stream's writer its credit back.
        on_bound: called from `inbox.put` when fewer pictures can wait than asked for.
        pictures: shared with the stream's other renditions.
        codecs: where encoders run; without, in this process.
        on_restarted: called from the thread when the encoder's process has died, why, and it runs again.
        """
        self.stream = spec.stream
        self._spec = spec
        self._reader = reader
        self._on_failed, self._on_encoded = on_failed, on_encoded
        self._key_interval_ns = _key_interval_ns(spec)
        self.inbox = PictureQueue(spec, reader, on_bound)
        self.counts = VideoCounts()
        self.start_latency = Distribution(STAGE_BOUNDS_SECONDS)
        """From capture of a picture to when the encoder begins with it."""
        self._consumer = f"hw-encode-{spec.rendition}"
        self._order = LosslessOrder()
        self._credits = OwedCredits(self._consumer, acknowledge)
        self._stop = threading.Event()
        self._force_key = threading.Event()
        self._encoder = ActiveEncoder(spec, codecs or Codecs(), on_running, on_restarted)
        self._pictures = PictureSource(pictures or Pictures())
        self._size = wanted_size(spec)
        self._limit = FpsLimit(spec.fps) if spec.fps else None
        self._changed: RenditionSpec | None = None
        """What `change` was given last and the thread has not taken on; one reference, so no lock."""
        self._last_key_ns = 0
        self._last_key_at_seconds = float("-inf")
        self._packets = RenditionPackets(spec, publisher, self._published)
        self._last_pts = self._last_pts_ns = -1
        self._last_used_at_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name=f"encode {spec.stream}--{spec.rendition}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End the thread; blocks for at most `timeout_seconds`."""
        self._stop.set()
        self.inbox.close()
        self._thread.join(timeout_seconds)

    @property
    def conversions(self) -> ConversionCounts:
        """What became of pictures that the encoder could not take as they are."""
        return self._pictures.counts

    @property
    def failovers(self) -> int:
        """Times an encoder failed in use."""
        return self._encoder.failovers

    @property
    def restarts(self) -> int:
        """Times an encoder's process died and the same encoder was started again."""
        return self._encoder.restarts

    def request_key_frame(self) -> bool:
        """Make the next picture an IDR; False when one was made so recently that this request is served by it."""
        if time.monotonic() - self._last_key_at_seconds < _KEY_FRAME_MIN_GAP_SECONDS:
            return False
        self._force_key.set()
        return True

    def change(self, spec: RenditionSpec) -> None:
        """Go on as `spec` says from the next picture on: with a key frame where that needs the encoder afresh."""
        self.inbox.change(spec)
        self._changed = spec

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._follow()
            self._credits.give()
            self._packets.publish(self._encoder.finish())
        finally:
            self._encoder.close()
            self.inbox.clear()
            self._pictures.close()

    def _follow(self) -> None:
        while not self._stop.is_set():
            if not self.inbox:
                self._credits.give()
            waiting = self.inbox.get(_WAIT_SECONDS)
            if waiting is None:
                self._finish_if_idle()
                continue
            ref, lease = waiting
            self._take_change()
            if ref.consumer != self._consumer:  # live, or lossless for somebody else
                self._use(ref, lease)
                continue
            verdict = self._order.judge(ref)
            if verdict == "use":
                self._credits.consumed(ref, self._use(ref))
            elif verdict == "repeated":  # its credit was lost
                self._credits.repeat(ref, self._order.last)

    def _use(self, ref: FrameRef, held: Lease | None = None) -> str:
        """Encode one picture, leased now if it is not held; returns why it could not be, or nothing."""
        if self._limit and not self._limit.admit(ref.pts_ns):
            self.counts.left_out += 1
            if held:
                held.release()
            return ""
        try:
            with held or self._reader.lease(ref) as lease:
                self._encode(ref, lease)
        except LeaseError as missed:
            self.counts.missed += 1
            return str(missed)
        except MeshError as failure:
            self._on_failed(self._spec, failure)
            return failure.message
        except Exception:  # a bug here must not end the thread silently: it says so and goes on with the next
            log.exception("picture not encoded", extra={"stream": ref.stream, "sequence": ref.sequence})
            return "internal error"
        return ""

    def _finish_if_idle(self) -> None:
        last = self._packets.newest
        if last is None or not last.reordered:
            return
        patience_seconds = max(_FINISH_AFTER_SECONDS, _FINISH_AFTER_PICTURES * last.duration_ns / NS_PER_SECOND)
        if time.monotonic() - self._last_used_at_seconds > patience_seconds:
            self._packets.publish(self._encoder.finish())

    def _take_change(self) -> None:
        spec, self._changed = self._changed, None
        if spec is None:
            return
        before, self._spec = self._spec, spec
        self._key_interval_ns = _key_interval_ns(spec)
        self._size = wanted_size(spec)
        if spec.fps != before.fps:
            self._limit = FpsLimit(spec.fps) if spec.fps else None
        if any(getattr(before, name) != getattr(spec, name) for name in _OF_ENCODER):
            self._packets.publish(self._encoder.change(spec))

    def _encode(self, ref: FrameRef, lease: Lease) -> None:
        self.start_latency.observe((time.time_ns() - ref.captured_ns) / NS_PER_SECOND)
        # An encoder that reorders takes only times that grow; others go on after a clock that was set back.
        steps_back = ref.pts_ns <= self._last_pts_ns
        if not self._encoder.fits(ref) or (self._spec.b_frames and steps_back):
            self._packets.publish(self._encoder.finish())
        pts = ref.pts_ns * TIME_BASE.denominator // NS_PER_SECOND
        if not steps_back:
            pts = max(pts, self._last_pts + 1)  # two pictures within a tick stay two
        self._last_pts, self._last_pts_ns, self._last_used_at_seconds = pts, ref.pts_ns, time.monotonic()
        packets = None
        while packets is None:  # ends: the encoder works, or `prepare` raises once all have failed
            if self._encoder.prepare(ref):
                self.counts.lost += self._packets.forget()
                self._force_key.set()
            picture = self._pictures.frame(
                lease.array,
                ref,
                self._encoder.pixel_format,
                self._size,
                self._spec.fit,
                own=self._encoder.needs_copy,
                sd_matrix=self._encoder.sd_matrix,
            )
            picture.pts = pts
            picture.time_base = TIME_BASE
            self._mark_key(picture, ref)
            self._packets.enter(
                pts,
                Inside(
                    ref,
                    picture.width,
                    picture.height,
                    duration_ns=max(ref.duration_ns, int(NS_PER_SECOND / self._spec.fps) if self._spec.fps else 0),
                    reordered=self._spec.b_frames > 0,
                ),
            )
            packets = self._encoder.encode(picture)
            if packets is None:
                self._packets.leave(pts)
        self._packets.publish(packets)

    def _mark_key(self, picture: VideoFrame, ref: FrameRef) -> None:
        due = ref.pts_ns - self._last_key_ns >= self._key_interval_ns or ref.pts_ns < self._last_key_ns
        if due or self._force_key.is_set():
            self._force_key.clear()
            self._last_key_ns = ref.pts_ns
            self._last_key_at_seconds = time.monotonic()
            picture.pict_type = PictureType.I

    def _published(self, ref: FrameRef, key: bool) -> None:
        self.counts.encoded += 1
        self.counts.key_frames += key
        self._on_encoded((time.time_ns() - ref.captured_ns) / NS_PER_SECOND)


def _key_interval_ns(spec: RenditionSpec) -> int:
    return int(parse_duration(spec.key_interval, "key_interval") * NS_PER_SECOND)

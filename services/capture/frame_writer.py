"""The one place where a stream's pictures get into its ring: the source's, and those in place of a lost source's."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final, Required, TypedDict

import msgspec
import numpy as np

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.frames import Clock, FrameRef
from schemas.pictures import Mask
from schemas.resources import StreamSpec
from schemas.subjects import frames
from services.capture.attached_values import AttachedValues
from services.capture.continuity import Continuity
from services.capture.settings import CaptureSettings
from services.capture.shaping import Shaped
from services.capture.stillness import RingPicture, Stillness, luma_of
from shared.media import timecode
from shared.metrics import STAGE_BOUNDS_SECONDS, Distribution
from shared.ring import RingGeometry, StreamWriter
from shared.ring.slot import NO_METADATA, Metadata
from shared.service import Context

MAX_METADATA_ENTRIES: Final = 32
MAX_METADATA_CHARACTERS: Final = 256  # of one value; a reference stays a small message
_CLOSE_SECONDS = 0.2  # a copy of a picture takes milliseconds; the event loop waits for it
_encode_ref = msgspec.json.Encoder().encode


class About(TypedDict, total=False):
    """What is known of a picture besides the picture."""

    pts_ns: Required[int]
    """On the stream's timeline."""
    duration_ns: int
    captured_ns: int | None
    """CLOCK_REALTIME; None or left out: now, the instant of writing."""
    clock: Clock
    exposure_ns: int
    colour_space: ColourSpace
    """Of a picture that is an array; frames say it themselves."""
    metadata: Metadata
    """By the device's own names; beyond 32 entries it is cut off."""


class FrameWriter:
    """Writes pictures and publishes their references. The source's thread and the one that stands in take turns."""

    def __init__(self, context: Context[CaptureSettings], spec: StreamSpec, epoch: int, dropped: Counter[str]) -> None:
        """`dropped`: pictures left out, by reason; counted here as `ring-full`."""
        settings = context.settings
        self._bus = context.bus
        self._subject = frames(context.node, spec.stream)
        self._ring = StreamWriter(
            settings.shm_dir,
            stream=spec.stream,
            node=context.node,
            epoch=epoch,
            slots=settings.ring_slots,
            delivery=spec.delivery,
        )
        self._dropped = dropped
        self.spec = spec
        """Of now; masks and time code are looked up in it."""
        self.attached: AttachedValues | None = None
        """Values that go with the source's pictures; None: nobody attaches any."""
        self.closed = False
        # Held while a picture is written: one that stands in for a lost source comes from another thread.
        self._turns = threading.Lock()
        self._times = Continuity()
        self._newest_masks: tuple[Mask, ...] | None = None  # what is hidden in it; None: it is none of the source's
        self._newest_at_ns = 0
        self._not_shown = 0
        """Sequence of the last picture that is not to be shown as the source's, by the masks of now."""
        self.newest: FrameRef | None = None
        """The picture that was written last."""
        self.written = 0
        self.stood_in = 0
        """Written in place of a lost source's."""
        self.written_at = 0.0
        """Monotonic seconds."""
        self.latency = Distribution(STAGE_BOUNDS_SECONDS)
        """From capture of a picture of the source to its reference on the bus."""
        self.last_ns = 0
        """CLOCK_REALTIME of the newest picture of the source."""

    @property
    def superseded(self) -> bool:
        """A writer with a newer epoch has taken the stream over: this one must stop."""
        return self._ring.superseded

    def check_open(self) -> None:
        """Raises:
        RuntimeError: closed: this thread was left behind, and must end.
        """
        if self.closed:
            raise RuntimeError("the stream has gone on without this source")

    # -- times -----------------------------------------------------------------------------------------------

    def times_anew(self) -> None:
        """The source was opened again: its times have nothing to do with those before."""
        with self._turns:  # another thread may still be placing a picture
            self._times.anew()

    def place_sound(self, pts_ns: int, duration_ns: int) -> int:
        """Where a block of sound is on the timeline that it shares with the pictures."""
        with self._turns:  # sound goes on while pictures that stay away are stood in for
            return self._times.place("audio", pts_ns, duration_ns)

    # -- the source's pictures -------------------------------------------------------------------------------

    def write(self, shaped: Shaped, masks: tuple[Mask, ...], stillness: Stillness | None, about: About) -> None:
        """Write one picture into the ring and publish its reference; dropped when no slot is free.

        Args:
            masks: what was hidden in it. Not those of now, which may have changed while the picture was made.

        Raises:
            Superseded: a newer writer has the stream.
            OutOfSpace: shared memory is too small for a ring of this geometry.
        """
        geometry, burn_timecode = shaped.geometry, self.spec.timecode
        with self._turns:
            self.check_open()
            slot = self._ring.acquire(geometry)
            if slot is None:
                self._dropped["ring-full"] += 1
                return
            try:
                shaped.fill(slot.array)
                if stillness is not None:
                    stillness.compare(luma_of(slot.array, geometry))
                now_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
                if burn_timecode:
                    timecode.burn(slot.array, now_ns // 1_000_000, geometry.pixel_format)
            except BaseException:
                slot.abandon()
                raise
            duration_ns, metadata = about.get("duration_ns", 0), about.get("metadata", NO_METADATA)
            given_ns = about.get("captured_ns")
            captured_ns = now_ns if given_ns is None else given_ns
            if self.attached is not None:
                metadata = self.attached.beside(metadata, captured_ns)
            ref = slot.commit(
                pts_ns=self._times.place("video", about["pts_ns"], duration_ns),
                captured_ns=captured_ns,
                monotonic_ns=monotonic_ns - (now_ns - captured_ns),
                duration_ns=duration_ns,
                clock=about.get("clock", "arrival"),
                exposure_ns=about.get("exposure_ns", 0),
                metadata=_bounded(metadata) if metadata else NO_METADATA,
                colour_space=shaped.colour_space,
            )
            self._publish(ref, masks)
            self.written += 1
            self.latency.observe((time.time_ns() - captured_ns) / 1e9)
        self.last_ns = now_ns
        self.written_at = monotonic_ns / 1e9

    def _publish(self, ref: FrameRef, masks: tuple[Mask, ...] | None) -> None:
        if masks != self.spec.masks:
            self._not_shown = ref.sequence
        self.newest, self._newest_masks = ref, masks
        self._newest_at_ns = time.monotonic_ns()
        self._bus.post_from_thread(self._subject, _encode_ref(ref))

    # -- what may be shown -----------------------------------------------------------------------------------

    def hide(self) -> None:
        """Masks have changed: what was written until now is shown no more."""
        self._not_shown = self._ring.last_sequence

    def shows(self, ref: FrameRef) -> bool:
        """Whether a picture of this writer is the source's, and shows nothing that the masks of now hide."""
        return ref.sequence > self._not_shown

    # -- in place of a lost source, from another thread ------------------------------------------------------

    def stand_in(self, geometry: RingGeometry, picture: RingPicture, written: int) -> bool:
        """Write a picture that is not the source's; False: not now, the source writes again.

        `written`: how many the source had written when it was seen to be lost.
        """
        with self._turn(written) as free:
            return free and self._put(geometry, picture, None)

    def repeat(self, written: int) -> bool:
        """Write the newest picture again, as old as it is; False: there is none that may be shown, or as `stand_in`."""
        with self._turn(written) as free:
            newest, original = self._ring.newest, self.newest
            if not free or newest is None or original is None or self._newest_masks not in (None, self.spec.masks):
                return False
            # Copied within the ring: readers take the newest slot, and one that joins now has not seen the old
            # reference.
            return self._put(*newest, original)

    @contextlib.contextmanager
    def _turn(self, written: int) -> Iterator[bool]:
        """Whether a picture may be written in place of the source's, until the end of the block."""
        if not self._turns.acquire(blocking=False):
            yield False
            return
        try:
            yield not self.closed and self.written == written
        finally:
            self._turns.release()

    def _put(self, geometry: RingGeometry, picture: RingPicture, original: FrameRef | None) -> bool:
        # What is copied must not be written to. Slots that were never written have sequence 0.
        slot = self._ring.acquire(geometry, protect=(original.sequence,) if original else ())
        if slot is None:
            self._dropped["ring-full"] += 1
            return False
        try:
            np.copyto(slot.array, picture)
        except BaseException:
            slot.abandon()
            raise
        after_ns = time.monotonic_ns() - self._newest_at_ns if self.newest else 0
        ref = slot.commit(
            pts_ns=self._times.follow("video", after_ns),
            captured_ns=original.captured_ns if original else time.time_ns(),
            monotonic_ns=original.monotonic_ns if original else time.monotonic_ns(),
            clock=original.clock if original else "arrival",
            colour_space=original.colour_space if original else UNSPECIFIED,
        )
        self._publish(ref, self._newest_masks if original else None)
        self.stood_in += 1
        return True

    def close(self) -> None:
        """Take the rings away. Readers keep what they hold. A thread that was left behind may no longer write."""
        self.closed = True
        # One that hangs within a picture holds its slot: that ring lies there until the process ends, superseded.
        if self._turns.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._ring.close()
            finally:
                self._turns.release()


def _bounded(metadata: Metadata) -> Metadata:
    return {
        name: value[:MAX_METADATA_CHARACTERS] if isinstance(value, str) else value
        for name, value in islice(metadata.items(), MAX_METADATA_ENTRIES)
    }

"""A stream whose pictures an application writes itself."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from schemas.colours import RGB, UNSPECIFIED, ColourSpace
from schemas.errors import InvalidValue
from schemas.frames import Clock, Delivery, FrameRef
from schemas.subjects import RAW, frames
from schemas.units import NS_PER_SECOND
from shared.bus import Bus
from shared.clients.credits import Credits
from shared.clients.picture import PictureInPlace, Stamp
from shared.demand import DemandBoard
from shared.pixel_formats import PACKED, Picture
from shared.ring import LosslessGate, NotConsumed, RingGeometry, StreamWriter, WritableSlot
from shared.ring.lossless import FailedPicture

log = logging.getLogger(__name__)

_MIN_STEP_NS: Final = 11_112  # one tick of video's 90 kHz clock: two pictures in one tick cannot be told apart
_SLOT_RETRY_SECONDS: Final = 0.002  # readers do not tell when they let go; an eighth of a picture's time at 60 fps
_CHECK_AGAIN_SECONDS: Final = 0.5  # a lossless writer that waits notices by then that another has taken the stream
_REPORTED_ERRORS: Final = 16  # the log is told each error once, and of so many different ones
_encode_ref = msgspec.json.Encoder().encode


@dataclass
class PublishCounts:
    """What has become of the pictures since the stream was opened."""

    written: int = 0
    dropped: int = 0
    """Live: readers held every slot. Lossless with policy `drop`: the consumer had no room."""
    failed: int = 0
    """Lossless: pictures that the consumer could not use; see `last_failure`."""
    last_failure: str = ""


class PublishedStream:
    """Made by `AsyncMesh.publish`. For one task at a time."""

    def __init__(
        self,
        bus: Bus,
        writer: StreamWriter,
        geometry: RingGeometry,
        *,
        fps: float | None,
        gate: LosslessGate | None,
        deadline_seconds: float,
        colour_space: ColourSpace = UNSPECIFIED,
    ) -> None:
        self.name, self.epoch, self.geometry = writer.stream, writer.epoch, geometry
        self.delivery: Delivery = writer.delivery
        self.counts = PublishCounts()
        self.gate = gate
        """Credits of a lossless stream; None for a live one."""
        self._bus = bus
        self._writer = writer
        self._fps = fps
        self._colour_space = RGB if colour_space is UNSPECIFIED and geometry.pixel_format in PACKED else colour_space
        self._deadline_seconds = deadline_seconds
        self._subject = frames(writer.node, writer.stream)
        self._busy = False
        self._started_ns = time.time_ns()
        self._last_pts_ns: int | None = None
        self._board: DemandBoard | None = None
        self._credits: Credits | None = None
        if gate is not None:
            self._credits = Credits(bus, writer.node, gate, publish=self._publish, failed=self._not_used)
        self._reported: set[str] = set()
        self.on_failed: Callable[[FailedPicture], None] | None = None
        """Called in the event loop with each picture that the consumer of a lossless stream could not use."""

    async def start(self) -> None:
        """Watch who wants the pictures; take the consumer's credits in, publish again what it does not answer."""
        self._board = await DemandBoard.open(self._bus, self._writer.node, self._demand_changed)
        if self._credits:
            await self._credits.start()

    @property
    def wanted(self) -> bool:
        """Somebody takes the pictures now; while nobody does, an application need not draw any."""
        return self._board is not None and self._board.wanted(self.name, RAW)

    def _demand_changed(self) -> None:
        if self._board is not None and self._credits is not None:
            self._credits.consumers_changed(self._board.consumers(self.name, RAW))

    def _publish(self, ref: FrameRef) -> None:
        self._bus.post(self._subject, _encode_ref(ref))

    # -- writing ---------------------------------------------------------------------------------------------

    async def write(
        self,
        array: Picture,
        *,
        captured_ns: int | None = None,
        pts_ns: int | None = None,
        clock: Clock = "arrival",
    ) -> FrameRef | None:
        """Copy a picture into the ring and publish its reference; None when it was dropped (and counted).

        Args:
            array: of the stream's `geometry.array_shape` and `geometry.array_dtype`; any strides.
            captured_ns: CLOCK_REALTIME of the capture instant; now when left out.
            pts_ns: presentation time, growing; left out, it is `captured_ns`, and on a lossless stream with `fps`
                the picture's number times its duration.

        Raises:
            InvalidValue: another shape or type, or a time that does not grow.
            NotConsumed: the consumer of a lossless stream made no room (policy `refuse`; policy `wait` after the
                deadline).
            Superseded: a newer publisher has the stream; stop writing.
            OutOfSpace: shared memory is too small for the ring.
        """
        self._check(array)
        slot = await self.acquire()
        if slot is None:
            self.abandon(None)
            return None
        np.copyto(slot.array, array)
        return self.commit(slot, Stamp(captured_ns, pts_ns, clock))

    def picture(
        self, *, captured_ns: int | None = None, pts_ns: int | None = None, clock: Clock = "arrival"
    ) -> PictureInPlace:
        """A picture to draw in place: `with stream.picture() as array: draw(array)`.

        The array lies in the ring and holds an old picture; it is published at the end of the block, or abandoned
        when the block raises; the object's `ref` says which. When the picture must be dropped the array is a scratch
        one. `async with` waits for a lossless stream's consumer as `write` does; plain `with` never waits. Raises as
        `write`.
        """
        return PictureInPlace(self, Stamp(captured_ns, pts_ns, clock))

    def _check(self, array: Picture) -> None:
        if array.dtype != self.geometry.array_dtype:
            wanted = self.geometry.array_dtype.__name__
            fix = f"{self.geometry.pixel_format} pictures are {wanted}; convert with array.astype(numpy.{wanted})"
            raise InvalidValue("array", str(array.dtype), fix)
        if array.shape != self.geometry.array_shape:
            shape = self.geometry.array_shape
            raise InvalidValue(
                "array", array.shape, f"{self.geometry.pixel_format} pictures of {self.name} are {shape}"
            )

    # -- slots -----------------------------------------------------------------------------------------------

    def acquire_now(self) -> WritableSlot | None:
        """A slot without waiting; None: the picture must be dropped, it was counted."""
        self._take_turn()
        gate = self.gate
        try:
            if gate is not None and gate.policy == "wait" and gate.in_flight >= gate.window:
                gate.counts.refused += 1
                detail = f"{gate.consumer} must consume one first; `write` and `async with` wait for it"
                raise NotConsumed(self.name, gate.in_flight, detail)
            slot = self._admitted_slot() if gate is None or gate.admit(0) else None
        except BaseException:
            self._busy = False
            raise
        if slot is None:
            self.counts.dropped += 1
        return slot

    async def acquire(self) -> WritableSlot | None:
        """A slot, waiting for the consumer of a lossless stream by its policy."""
        if self._credits is None or self._credits.gate.policy != "wait":
            return self.acquire_now()
        self._take_turn()
        try:
            return await self._wait_for_slot(self._credits)
        except BaseException:
            self._busy = False
            raise

    def _take_turn(self) -> None:
        if self._busy:
            raise RuntimeError(f"{self.name}: finish the picture that is being written before the next")
        self._busy = True

    def _admitted_slot(self) -> WritableSlot | None:
        return (
            self._writer.acquire(self.geometry, self.gate.protected)
            if self.gate
            else self._writer.acquire(self.geometry)
        )

    async def _wait_for_slot(self, credits: Credits) -> WritableSlot:
        gate = credits.gate
        deadline = time.monotonic() + self._deadline_seconds
        while True:
            credits.arrived.clear()
            retry_seconds = _CHECK_AGAIN_SECONDS
            if gate.in_flight < gate.window:
                slot = self._admitted_slot()
                if slot is not None:
                    return slot
                retry_seconds = _SLOT_RETRY_SECONDS  # an onlooker holds the free slots
            elif self._writer.superseded:
                self._admitted_slot()  # raises Superseded
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                gate.counts.timed_out += 1
                detail = f"{gate.consumer} has made no room for {self._deadline_seconds:g} s; does it run?"
                raise NotConsumed(self.name, gate.in_flight, detail)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, retry_seconds)):
                    await credits.arrived.wait()

    def commit(self, slot: WritableSlot, stamp: Stamp) -> FrameRef:
        """Publish the picture in `slot`."""
        self._busy = False
        now_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
        captured_ns = now_ns if stamp.captured_ns is None else stamp.captured_ns
        try:
            pts_ns = self._pts(stamp.pts_ns, captured_ns)
        except InvalidValue:
            slot.abandon()
            raise
        ref = slot.commit(
            pts_ns=pts_ns,
            captured_ns=captured_ns,
            monotonic_ns=monotonic_ns - (now_ns - captured_ns),
            duration_ns=round(NS_PER_SECOND / self._fps) if self._fps else 0,
            clock=stamp.clock,
            colour_space=self._colour_space,
        )
        self._last_pts_ns = pts_ns
        self.counts.written += 1
        if self.gate is not None:
            ref = msgspec.structs.replace(ref, consumer=self.gate.consumer, credit_every=self.gate.credit_every)
            self.gate.sent(ref)
        self._publish(ref)
        return ref

    def abandon(self, slot: WritableSlot | None) -> None:
        """Give the slot back without a picture."""
        self._busy = False
        if slot is not None:
            slot.abandon()

    def _pts(self, given_ns: int | None, captured_ns: int) -> int:
        least_ns = -(1 << 63) if self._last_pts_ns is None else self._last_pts_ns + _MIN_STEP_NS
        if given_ns is None:
            if self.gate is not None and self._fps:
                given_ns = self._started_ns + round(self.counts.written * NS_PER_SECOND / self._fps)
            return max(captured_ns if given_ns is None else given_ns, least_ns)
        if given_ns < least_ns:
            raise InvalidValue(
                "pts_ns", given_ns, f"times must grow by {_MIN_STEP_NS} ns or more; use {least_ns} or later"
            )
        return given_ns

    # -- the consumer ----------------------------------------------------------------------------------------

    def _not_used(self, failed: FailedPicture) -> None:
        self.counts.failed += 1
        self.counts.last_failure = failed.error
        if self.on_failed is not None:
            self.on_failed(failed)
        if failed.error not in self._reported and len(self._reported) < _REPORTED_ERRORS:
            self._reported.add(failed.error)
            log.warning("%s sequence %d was not used: %s", self.name, failed.ref.sequence, failed.error)

    async def drain(self, timeout_seconds: float = 10.0) -> bool:
        """Wait until the consumer of a lossless stream has consumed everything; False when it has not by then."""
        return self._credits is None or await self._credits.drain(timeout_seconds)

    async def close(self) -> None:
        """Take the ring away; readers keep what they hold."""
        if self._credits:
            await self._credits.close()
        if self._board:
            await self._board.close()
        self._writer.close()

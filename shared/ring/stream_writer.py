"""All pictures of one stream in one epoch, across the rings that they need."""

import logging
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.errors import OutOfSpace
from schemas.frames import Delivery
from shared.ring.layout import RingGeometry
from shared.ring.slot import WritableSlot, WriterCounts
from shared.ring.writer import DEFAULT_SLOTS, NO_SEQUENCES, RingWriter

_log = logging.getLogger(__name__)

NewRingReason = Literal["first", "geometry", "starved"]

ROTATE_AFTER_SECONDS: Final = 1.0  # no honest reader keeps every slot for so long: one has locked the whole file
MAX_ROTATE_AFTER_SECONDS: Final = 30.0  # a reader that does it to every ring must not eat the memory ring by ring
RETIRE_AFTER_SECONDS: Final = 1.0  # references to the old ring may still be on their way to a reader that must open it


@dataclass
class _Retired:
    ring: RingWriter
    since: float


class StreamWriter:
    """Writes a stream; makes a new ring when the geometry changes or readers starve the old one.

    Sequences go on across the rings. Belongs to one thread at a time; commit or abandon a slot before the next
    `acquire`, because that may go to another ring.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stream: str,
        node: str,
        epoch: int,
        slots: int = DEFAULT_SLOTS,
        delivery: Delivery = "live",
        on_ring: Callable[[NewRingReason, RingWriter], None] | None = None,
        rotate_after_seconds: float = ROTATE_AFTER_SECONDS,
        retire_after_seconds: float = RETIRE_AFTER_SECONDS,
    ) -> None:
        self.folder, self.stream, self.node, self.epoch = folder, stream, node, epoch
        self.slots, self.delivery = slots, delivery
        self.rings_made = 0
        self._on_ring = on_ring
        self._rotate_after_seconds = self._next_rotate_after_seconds = rotate_after_seconds
        self._retire_after_seconds = retire_after_seconds
        self._ring: RingWriter | None = None
        self._retired: list[_Retired] = []
        self._past = WriterCounts()
        self._ring_started_with = 0
        self._last_sequence = 0

    @property
    def name(self) -> str:
        """File name of the present ring; empty before the first picture."""
        return "" if self._ring is None else self._ring.name

    @property
    def newest(self) -> tuple[RingGeometry, NDArray[np.uint8]] | None:
        """The picture written last, as `RingWriter.newest`; None when the present ring has none yet."""
        ring = self._ring
        return None if ring is None or ring.newest is None else (ring.geometry, ring.newest)

    @property
    def last_sequence(self) -> int:
        """Of the last committed picture; 0 before the first."""
        return self._last_sequence if self._ring is None else self._ring.last_sequence

    @property
    def superseded(self) -> bool:
        """A writer with a newer epoch has taken over: stop."""
        return self._ring is not None and self._ring.superseded

    @property
    def counts(self) -> WriterCounts:
        """Sums over all rings."""
        past, now = self._past, WriterCounts() if self._ring is None else self._ring.counts
        return WriterCounts(
            past.committed + now.committed,
            past.abandoned + now.abandoned,
            past.starved + now.starved,
            past.passed_over + now.passed_over,
        )

    def acquire(self, geometry: RingGeometry, protect: Container[int] = NO_SEQUENCES) -> WritableSlot | None:
        """A slot for a picture of this geometry; None when readers hold every one, and the picture must be dropped.

        Slots whose sequence is in `protect` are not reused, nor is an older ring removed that ends in one.

        Raises:
            OutOfSpace: no memory for a ring of a new geometry; the old one is gone by then.
            Superseded: a writer with a newer epoch has the stream.
        """
        if self._retired:
            self._remove_retired(protect)
        ring = self._ring
        # Mostly the same object, and to compare two costs a microsecond.
        if ring is None or (ring.geometry is not geometry and ring.geometry != geometry):
            ring = self._new_ring(geometry, "first" if ring is None else "geometry")
        slot = ring.acquire(protect)
        if slot is not None:
            if ring.last_sequence >= self._ring_started_with + self.slots:  # a whole round: readers let go again
                self._next_rotate_after_seconds = self._rotate_after_seconds
            return slot
        if ring.starved_seconds < self._next_rotate_after_seconds:
            return None
        self._next_rotate_after_seconds = min(2 * self._next_rotate_after_seconds, MAX_ROTATE_AFTER_SECONDS)
        try:
            ring = self._new_ring(geometry, "starved")
        except OutOfSpace as error:
            _log.warning("every slot of %s is held, and there is no memory for another ring: %s", ring.name, error)
            return None
        return ring.acquire(protect)

    def _new_ring(self, geometry: RingGeometry, reason: NewRingReason) -> RingWriter:
        old = self._ring
        try:
            ring = self._create(geometry)
        except OutOfSpace:
            # The old rings' memory may be what is missing. When starved, the old ring is all there is: keep it.
            if not self._retired and (old is None or reason == "starved"):
                raise
            self._remove_all_retired()
            if old is not None and reason == "geometry":
                self._let_go(old)
                old.close()
                old = None
            ring = self._create(geometry)
        if old is not None:
            self._let_go(old)
            self._retired.append(_Retired(old, time.monotonic()))
        self._ring = ring
        self._ring_started_with = ring.last_sequence
        self.rings_made += 1
        if reason != "first":
            _log.warning(
                "stream %s continues in ring %s after sequence %d: %s",
                self.stream,
                ring.name,
                ring.last_sequence,
                "readers held every slot of the old one" if reason == "starved" else f"pictures are {geometry}",
            )
        if self._on_ring is not None:
            self._on_ring(reason, ring)
        return ring

    def _create(self, geometry: RingGeometry) -> RingWriter:
        return RingWriter.create(
            self.folder,
            stream=self.stream,
            node=self.node,
            epoch=self.epoch,
            geometry=geometry,
            slots=self.slots,
            delivery=self.delivery,
            last_sequence=self.last_sequence,
        )

    def _let_go(self, ring: RingWriter) -> None:
        """The ring is no longer the present one; what it has counted stays counted."""
        past, counts = self._past, ring.counts
        past.committed += counts.committed
        past.abandoned += counts.abandoned
        past.starved += counts.starved
        past.passed_over += counts.passed_over
        self._last_sequence = ring.last_sequence
        self._ring = None

    def _remove_retired(self, protect: Container[int]) -> None:
        now = time.monotonic()
        kept: list[_Retired] = []
        for retired in self._retired:
            young = now - retired.since < self._retire_after_seconds
            if young or retired.ring.last_sequence in protect:
                kept.append(retired)
            else:
                retired.ring.close()
        self._retired = kept

    def _remove_all_retired(self) -> None:
        for retired in self._retired:
            retired.ring.close()
        self._retired = []

    def close(self) -> None:
        """Remove the stream's rings; readers keep what they have open."""
        self._remove_all_retired()
        if self._ring is not None:
            self._ring.close()

"""The reading end: turns frame references into leased pictures, across all rings of a node."""

import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from schemas.frames import FrameRef
from shared.ring.errors import BadRing, FrameOverwritten, LeaseLimit, RingGone
from shared.ring.folder import is_ring_name
from shared.ring.lease import Lease
from shared.ring.opened import OpenRing

DEFAULT_MAX_LEASES: Final = 4  # half of a ring's usual slots: one consumer cannot starve the writer
DEFAULT_MAX_OPEN_RINGS: Final = 16  # sixteen cameras; each open ring is an address range and two descriptors


@dataclass
class LeaseCounts:
    """What became of the references, since the reader was made."""

    ok: int = 0
    overwritten: int = 0
    gone: int = 0
    refused: int = 0


class RingReader:
    """One per consumer process and folder; may be used from any thread. Not across a fork.

    Rings are opened when a reference names them and closed when they have ended and others are opened, at
    `trim`, or when more than `max_open_rings` are open; never while a picture of theirs is held.
    """

    def __init__(
        self, folder: Path, max_leases: int = DEFAULT_MAX_LEASES, *, max_open_rings: int = DEFAULT_MAX_OPEN_RINGS
    ) -> None:
        self.folder = folder
        self.max_leases = max_leases
        self.max_open_rings = max_open_rings
        self.counts = LeaseCounts()
        self._rings: dict[str, OpenRing] = {}
        self._held = 0
        # Slots come back from finalizers, which may run in any thread at any point, even inside `lease` in the
        # thread that has the mutex. So a finalizer never waits for it: it queues the slot, and whoever has the
        # mutex looks at the queue after letting go. Bounded by max_leases.
        self._mutex = threading.Lock()
        self._returned: deque[tuple[OpenRing, int]] = deque()

    @property
    def held(self) -> int:
        """Pictures held now, views and libav frames that outlive their lease included."""
        return self._held

    def lease(self, ref: FrameRef) -> Lease:
        """Hold the picture that `ref` names; `with reader.lease(ref) as picture: use(picture.array)`.

        Raises:
            FrameOverwritten: the writer reused the slot; go on with a newer reference.
            RingGone: no such ring on this node, not a sound one, or not the one the reference describes.
            LeaseLimit: `max_leases` pictures are held already.
        """
        try:
            with self._mutex:
                return self._lease(ref)
        finally:
            if self._returned:
                self._take_back()

    def _lease(self, ref: FrameRef) -> Lease:
        if self._held >= self.max_leases:
            self.counts.refused += 1
            raise LeaseLimit(ref, f"{self._held} held")
        ring = self._rings.get(ref.ring)
        if ring is None:
            ring = self._open(ref)
        slot = ref.slot
        if (
            slot >= ring.slots
            or slot < 0
            or ref.epoch != ring.epoch
            or ref.width != ring.width
            or ref.height != ring.height
            or ref.pixel_format != ring.pixel_format
            or ref.stream != ring.stream
            or ref.node != ring.node
        ):
            self.counts.gone += 1
            raise RingGone(ref, f"{ref.ring} is not the ring that the reference describes")
        if not ring.holds[slot] and not ring.file.try_lock(ring.lock_requests[slot]):
            self.counts.overwritten += 1
            raise FrameOverwritten(ref, "it is being written")
        # Under the lock the sequence cannot change; before it, it would say nothing.
        sequence = ring.words[ring.sequence_words[slot]]
        if sequence != ref.sequence or not sequence:
            if not ring.holds[slot]:
                ring.file.unlock(ring.unlock_requests[slot])
            self.counts.overwritten += 1
            raise FrameOverwritten(ref, f"it holds {sequence or 'nothing'}")
        ring.holds[slot] += 1
        ring.held += 1
        self._held += 1
        self.counts.ok += 1
        return Lease(ref, ring, self._give_back)

    def _open(self, ref: FrameRef) -> OpenRing:
        self._drop(ended=True)
        if len(self._rings) >= self.max_open_rings:
            self._drop(ended=False)
        try:
            if not is_ring_name(ref.ring):
                raise BadRing("not a ring's name")
            ring = OpenRing(self.folder, ref.ring)
        except (OSError, BadRing) as error:
            self.counts.gone += 1
            raise RingGone(ref, str(error)) from None
        self._rings[ref.ring] = ring
        return ring

    def trim(self) -> int:
        """Close rings that have ended, so that their memory is freed; returns how many. For when a stream stops."""
        try:
            with self._mutex:
                return self._drop(ended=True)
        finally:
            self._take_back()

    def _drop(self, *, ended: bool) -> int:
        """Close all ended rings, or the one opened first; those with a picture held stay."""
        dropped = 0
        for name, ring in list(self._rings.items()):
            if ring.held or (ended and not ring.ended):
                continue
            del self._rings[name]
            ring.file.close()
            dropped += 1
            if not ended:
                break
        return dropped

    def _give_back(self, ring: OpenRing, slot: int) -> None:
        self._returned.append((ring, slot))
        self._take_back()

    def _take_back(self) -> None:
        while self._returned and self._mutex.acquire(blocking=False):
            try:
                while self._returned:
                    ring, slot = self._returned.popleft()
                    ring.holds[slot] -= 1
                    ring.held -= 1
                    self._held -= 1
                    if not ring.holds[slot]:
                        ring.file.unlock(ring.unlock_requests[slot])
            finally:
                self._mutex.release()

    def close(self) -> None:
        """Close every ring; one with pictures held goes with the last of them."""
        with self._mutex:
            self._rings.clear()
            self.max_leases = 0

    def __enter__(self) -> "RingReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""A lease: one picture, in place, that nobody overwrites as long as anything of it is in use."""

from collections.abc import Callable
from types import TracebackType

import numpy as np

from schemas.frames import FrameRef
from shared.pixel_formats import Picture
from shared.ring.opened import OpenRing

GiveBack = Callable[[OpenRing, int], None]


class _LeasedArray(np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.uint16]]):
    """The owner of a leased picture's memory: when it dies, no view of the picture is left.

    numpy shortens a chain of views to the last array of the view's own type. The consumer's array is a plain
    ndarray on top of this one, so every view it makes keeps this object alive, and so does a libav buffer of
    `VideoFrame.from_numpy_buffer`, which holds the array until libav drops the last reference to the picture.
    """

    give_back: GiveBack | None = None  # class level: an array that numpy derives from this one has nothing to give
    ring: OpenRing
    slot: int

    def __del__(self) -> None:
        give_back = self.give_back
        if give_back is not None:
            give_back(self.ring, self.slot)


class Lease:
    """One picture, held. Belongs to one thread; the array may go anywhere.

    The slot is free again when `release` was called (or the `with` block left, or the lease was collected) *and*
    no view of `array` is alive any more, those of libav included. Until then it counts against the reader's limit.
    """

    __slots__ = ("_array", "_give_back", "_ring", "ref")

    def __init__(self, ref: FrameRef, ring: OpenRing, give_back: GiveBack) -> None:
        self.ref = ref
        self._ring: OpenRing | None = ring
        self._give_back = give_back
        self._array: Picture | None = None

    @property
    def array(self) -> Picture:
        """The ring's `geometry.array_shape` and `geometry.array_dtype`, read-only, not copied.

        Copy it before giving it to anything that works in place: a write to the memory itself is a segmentation
        fault, and libav takes a frame of it for writable.

        Raises:
            RuntimeError: the lease was released.
        """
        if self._array is not None:
            return self._array
        ring, slot = self._ring, self.ref.slot
        if ring is None:
            raise RuntimeError("this lease was released; keep the array itself to keep the picture")
        owner = _LeasedArray(ring.array_shape, ring.array_dtype, ring.map, ring.slot_offsets[slot])
        owner.ring, owner.slot, owner.give_back = ring, slot, self._give_back
        self._array = owner.view(np.ndarray)
        return self._array

    @property
    def ring_slots(self) -> int:
        """How many pictures the ring has room for; 0 when the lease was released."""
        return self._ring.slots if self._ring is not None else 0

    def release(self) -> None:
        """Let go of the picture. May be called again."""
        ring, self._ring = self._ring, None
        if ring is None:
            return
        if self._array is None:
            self._give_back(ring, self.ref.slot)
        else:
            self._array = None  # its owner gives the slot back, now or when the last view goes

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

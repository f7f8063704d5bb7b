"""Which slot a writer tries next."""

from collections.abc import Iterator
from typing import Final

# What a reader is about to fetch stays intact as long as other slots will do: the newest pictures, and those
# younger than a reader may take to wake up. With 40 ms, readers on a 2-core machine under other load (stalls of
# up to 90 ms) lost 8 of 1629 pictures at 30 frames/s while most slots lay idle.
# Older slots are reused newest first, while they are warm. That gains little, and most of it only where a reader
# would lose: copying 4K I420 into 1, 2, 3, 4, 8 slots in turn took 1.27, 1.65, 1.70, 1.73, 1.75 ms on that machine.
DEFAULT_HISTORY: Final = 2
DEFAULT_KEEP_SECONDS: Final = 0.150


class SlotOrder:
    """Knows what is in each slot of a ring, and since when."""

    __slots__ = ("_committed_at_ns", "_free", "_history", "_keep_ns", "_published", "sequences")

    def __init__(self, slots: int, history: int, keep_seconds: float) -> None:
        self.sequences = [0] * slots
        """Of the picture in each slot; 0: none."""
        self._committed_at_ns = [0] * slots
        self._free = list(range(slots))
        """Slots without a picture that nobody is writing; the first is tried first."""
        self._published: list[int] = []
        """Slots with a picture, newest first."""
        self._history = min(history, slots - 1)  # one slot is always left to write to
        self._keep_ns = int(keep_seconds * 1e9)

    def candidates(self, now_ns: int) -> Iterator[int]:
        """Slots to try: those with an old enough picture, newest first; empty ones; young pictures, oldest first."""
        published, settled = self._published, self._history
        cutoff_ns = now_ns - self._keep_ns
        if published and self._committed_at_ns[published[-1]] > cutoff_ns:
            settled = max(settled, len(published))  # at high rates even the oldest is young
        while settled < len(published) and self._committed_at_ns[published[settled]] > cutoff_ns:
            settled += 1
        young = published[self._history : settled]
        yield from published[settled:]
        yield from tuple(self._free)
        yield from reversed(young)

    def take(self, slot: int) -> None:
        """The slot is being written."""
        (self._published if self.sequences[slot] else self._free).remove(slot)
        self.sequences[slot] = 0

    def publish(self, slot: int, sequence: int, now_ns: int) -> None:
        self._published.insert(0, slot)
        self.sequences[slot] = sequence
        self._committed_at_ns[slot] = now_ns

    def give_back(self, slot: int) -> None:
        """The slot has no picture after all; it is warm, so it comes before other empty ones."""
        self._free.insert(0, slot)

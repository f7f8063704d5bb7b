"""The consumer's side of a lossless stream: every picture once, in order, whatever the bus loses or repeats.

A writer publishes a reference again while its credit is missing (`shared.ring.LosslessGate`), oldest first. So a
consumer may refuse one that comes too early: it comes again, after those that were lost. And it must answer one
that it has consumed with its credit: the first credit was lost. Only for the consumer that the reference names; to
others nothing is sent again.
"""

import time
from collections.abc import Callable
from typing import Final, Literal

from schemas.frames import FrameRef
from shared.ring.lossless import RESEND_AFTER_SECONDS

Verdict = Literal["use", "repeated", "early"]

# Who joins in the middle of an epoch cannot know how much its predecessor has consumed. Within this time everything
# that waits for a credit has been published again, so the lowest sequence seen is the oldest not consumed.
JOIN_SECONDS: Final = 1.5 * RESEND_AFTER_SECONDS


# A missing reference that has not come again by then is not in flight any more: somebody else gave its credit.
STUCK_SECONDS: Final = 10 * RESEND_AFTER_SECONDS


class LosslessOrder:
    """Decides what to do with each reference that comes. Belongs to one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoch = -1
        self.last = 0
        """Sequence of the last reference that was to be used; 0 before the first."""
        self._joining = False
        self._lowest = 0
        self._waiting_since: float | None = None
        """When the first reference was refused since the last one was used."""

    def judge(self, ref: FrameRef) -> Verdict:
        """`use`: it is the next one. `repeated`: send the credit of `last` again. `early`: leave it alone."""
        if ref.epoch < self._epoch:
            return "early"
        if ref.epoch > self._epoch:
            self._epoch, self.last, self._waiting_since = ref.epoch, 0, None
            self._join(ref)
        if ref.sequence <= self.last:
            return "repeated"
        if ref.sequence == self.last + 1 or self._is_oldest(ref):
            self.last, self._joining, self._waiting_since = ref.sequence, False, None
            return "use"
        return "early"

    def _is_oldest(self, ref: FrameRef) -> bool:
        """Whether, after long enough a look, nothing older than `ref` is in flight."""
        now = self._clock()
        if self._waiting_since is None:
            self._waiting_since = now
        waited_seconds = now - self._waiting_since
        if waited_seconds > STUCK_SECONDS:
            self._waiting_since = now
            self._join(ref)
            return False
        self._lowest = min(self._lowest, ref.sequence)
        return self._joining and waited_seconds > JOIN_SECONDS and ref.sequence == self._lowest

    def _join(self, ref: FrameRef) -> None:
        self._joining, self._lowest = True, ref.sequence

"""Credits of a lossless stream: how many pictures its one consumer has not consumed yet, and what to do then.

Logic only: the producer calls `admit` before it takes a slot, `sent` after it published the reference, and the
bus' callback calls `acknowledge`. `protected` goes to the writer's `acquire`, so that no picture in flight is
overwritten. When the oldest reference is left unacknowledged for `RESEND_AFTER_SECONDS`, all in flight come out of
`due`, to be published again: the bus may have lost them, or their credit, in a reconnect, and the consumer has refused
those that came after one it lacks. So it sees some twice; it skips a sequence that it has consumed and sends its
credit again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import InvalidValue
from schemas.frames import FrameAck, FrameRef
from shared.ring.errors import NotConsumed

FullPolicy = Literal["wait", "refuse", "drop"]

RESEND_AFTER_SECONDS: Final = 1.0  # a reconnect takes 0.2 s; a consumer that is merely slow is asked once a second
_POLICIES: Final = ("wait", "refuse", "drop")


@dataclass
class GateCounts:
    """What has happened at the gate."""

    sent: int = 0
    consumed: int = 0
    failed: int = 0
    """Pictures that the consumer could not use."""
    dropped: int = 0
    refused: int = 0
    timed_out: int = 0
    resent: int = 0
    ignored_acks: int = 0
    """Of another stream, epoch or consumer, or for a picture that was never sent."""


@dataclass(frozen=True)
class FailedPicture:
    """A picture that the consumer could not use, and why."""

    ref: FrameRef
    error: str


@dataclass
class _InFlight:
    ref: FrameRef
    sent_at: float
    """On the gate's clock, of the latest sending."""


class LosslessGate:
    """Counts the pictures in flight to the consumer of one lossless stream. May be used from any thread."""

    def __init__(
        self,
        *,
        stream: str,
        epoch: int,
        consumer: str,
        window: int,
        policy: FullPolicy = "wait",
        resend_after_seconds: float = RESEND_AFTER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`window`: pictures in flight at most; at least two fewer than the ring's slots, so that one can be written.

        Raises:
            InvalidValue: no such policy, or a window below 1.
        """
        if policy not in _POLICIES:
            raise InvalidValue("policy", policy, f"use one of {', '.join(_POLICIES)}")
        if window < 1:
            raise InvalidValue("window", window, "use 1 or more")
        self.stream, self.epoch, self.consumer = stream, epoch, consumer
        self.window, self.policy = window, policy
        self.counts = GateCounts()
        self._resend_after_seconds = resend_after_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._in_flight: OrderedDict[int, _InFlight] = OrderedDict()
        """By sequence, oldest first; bounded by `window`."""
        self._last_sent = 0

    @property
    def credit_every(self) -> int:
        """Pictures that one credit may stand for: who waits has half a window to go on with; others need to know now
        how many there is room for."""
        return max(1, self.window // 2) if self.policy == "wait" else 1

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def protected(self) -> range:
        """Sequences whose slots must not be reused; hand it to the writer's `acquire`."""
        with self._changed:
            if not self._in_flight:
                return range(0)
            return range(next(iter(self._in_flight)), self._last_sent + 1)

    def admit(self, timeout_seconds: float) -> bool:
        """Whether the next picture may be written; False: drop it, it was counted (policy `drop`).

        Raises:
            NotConsumed: no room, at once (policy `refuse`) or still after `timeout_seconds` (policy `wait`).
        """
        with self._changed:
            if len(self._in_flight) < self.window:
                return True
            if self.policy == "drop":
                self.counts.dropped += 1
                return False
            if self.policy == "refuse":
                self.counts.refused += 1
                raise NotConsumed(self.stream, len(self._in_flight), f"{self.consumer} must consume one first")
            if self._changed.wait_for(lambda: len(self._in_flight) < self.window, timeout_seconds):
                return True
            self.counts.timed_out += 1
            detail = f"{self.consumer} has consumed none for {timeout_seconds:g} s"
            raise NotConsumed(self.stream, len(self._in_flight), detail)

    def sent(self, ref: FrameRef) -> None:
        """A committed picture's reference was published, or is about to be: call it first, credits may be quick."""
        with self._changed:
            self._in_flight[ref.sequence] = _InFlight(ref, self._clock())
            self._last_sent = ref.sequence
            self.counts.sent += 1

    def acknowledge(self, ack: FrameAck) -> FailedPicture | None:
        """Take a credit; returns the picture that the consumer could not use, if it says so, for the producer.

        An error counts as consumed: the picture is not sent again.
        """
        with self._changed:
            known = (ack.stream, ack.epoch, ack.consumer) == (self.stream, self.epoch, self.consumer)
            if not known or ack.sequence > self._last_sent:
                self.counts.ignored_acks += 1
                return None
            failed: FailedPicture | None = None
            while self._in_flight and next(iter(self._in_flight)) <= ack.sequence:
                sequence, entry = self._in_flight.popitem(last=False)
                if ack.error and sequence == ack.sequence:
                    failed = FailedPicture(entry.ref, ack.error)
                    self.counts.failed += 1
                else:
                    self.counts.consumed += 1
            self._changed.notify_all()
            return failed

    def due(self, *, everything: bool = False) -> list[FrameRef]:
        """References to publish again, oldest first: all in flight, once the oldest has waited for long enough.

        Those after it as well, however young: coming one by one, each would meet a consumer that lacks another one.
        A lost reference would slow the stream down to one window per `resend_after_seconds` until its writer pauses.

        `everything`: without that wait, for a consumer that has only just come.
        """
        now = self._clock()
        with self._changed:
            # The oldest was sent first, and all are sent again together: no other has waited for longer.
            oldest = next(iter(self._in_flight.values()), None)
            if oldest is None or not (everything or now - oldest.sent_at >= self._resend_after_seconds):
                return []
            for entry in self._in_flight.values():
                entry.sent_at = now
            self.counts.resent += len(self._in_flight)
            return [entry.ref for entry in self._in_flight.values()]

    def drain(self, timeout_seconds: float) -> bool:
        """Wait until everything is consumed, before the ring is closed; False when it is not by then."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_flight, timeout_seconds)

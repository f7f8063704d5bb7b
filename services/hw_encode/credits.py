"""Credits that a rendition owes the writer of its lossless stream."""

import time
from collections.abc import Callable
from typing import Final

from schemas.frames import FrameAck, FrameRef

_AT_LEAST_EVERY_SECONDS: Final = 0.02  # less than a picture at 30/s: a slow encoder gives credit for each


class OwedCredits:
    """Gives one credit for several pictures where their writer allows it. Belongs to one thread.

    A credit is a message through three processes, and wakes each of them: one for three pictures costs the mesh a fifth
    less besides the encoder (1.9 to 1.5 ms of processor time a picture of 1080p, all services and the application).
    Call `give` before waiting for another picture, and at the end: nobody must wait for what is only owed.
    """

    def __init__(
        self, consumer: str, send: Callable[[FrameAck], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._consumer, self._send, self._clock = consumer, send, clock
        self._owed: FrameRef | None = None
        self._count = 0
        self._given_at_seconds = 0.0

    def consumed(self, ref: FrameRef, error: str = "") -> None:
        """This picture is consumed; with an `error` it could not be used, and the writer is told at once."""
        if self._owed is not None and self._owed.epoch != ref.epoch:
            self.give()
        self._owed = ref
        self._count += 1
        late = self._clock() - self._given_at_seconds >= _AT_LEAST_EVERY_SECONDS
        if error or late or self._count >= ref.credit_every:
            self.give(error)

    def give(self, error: str = "") -> None:
        """Send what is owed."""
        ref, self._owed, self._count = self._owed, None, 0
        if ref is None:
            return
        self._given_at_seconds = self._clock()
        self.repeat(ref, ref.sequence, error)

    def repeat(self, ref: FrameRef, sequence: int, error: str = "") -> None:
        """Credit for everything up to `sequence` of the stream that `ref` belongs to."""
        self._send(
            FrameAck(stream=ref.stream, epoch=ref.epoch, consumer=self._consumer, sequence=sequence, error=error)
        )

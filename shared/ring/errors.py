"""What can go wrong with a ring; each error carries the fields a caller needs to decide what to do next."""

from schemas.frames import FrameRef


class RingError(Exception):
    """Base of every error of the rings."""


class BadRing(RingError, ValueError):
    """The file is not a ring of this layout, or its header contradicts its size."""


class LeaseError(RingError):
    """A reference that could not be turned into a picture. Carries `ref`."""

    reason = "the picture cannot be had"

    def __init__(self, ref: FrameRef, detail: str = "") -> None:
        super().__init__(ref, detail)
        self.ref, self.detail = ref, detail

    def __str__(self) -> str:
        ref = self.ref
        text = f"{ref.stream} epoch {ref.epoch} sequence {ref.sequence}: {self.reason}"
        return f"{text}: {self.detail}" if self.detail else text


class FrameOverwritten(LeaseError, LookupError):
    """The writer has reused the slot; take a newer reference."""

    reason = "the slot holds another picture by now"


class RingGone(LeaseError, LookupError):
    """The ring does not exist here (any more), or is not what the reference says."""

    reason = "no such ring"


class LeaseLimit(LeaseError, RuntimeError):
    """This reader holds as many pictures as it may; release one first, views and libav frames included."""

    reason = "too many leases held by this reader"


class Superseded(RingError, RuntimeError):
    """A writer with a newer epoch has taken over the stream; this one must stop. Carries both epochs."""

    def __init__(self, stream: str, epoch: int, newer_epoch: int) -> None:
        super().__init__(f"{stream}: a writer of epoch {newer_epoch} has taken over from epoch {epoch}; stop writing")
        self.stream, self.epoch, self.newer_epoch = stream, epoch, newer_epoch


class NotConsumed(RingError, BlockingIOError):
    """The consumer of a lossless stream has not made room. Carries `stream`, `in_flight`."""

    def __init__(self, stream: str, in_flight: int, detail: str) -> None:
        super().__init__(f"{stream}: {in_flight} pictures wait for their consumer; {detail}")
        self.stream, self.in_flight = stream, in_flight

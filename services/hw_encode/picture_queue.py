"""Pictures that wait for the encoder: how many, and which one gives way when one more comes."""

import threading
from collections import Counter, deque
from collections.abc import Callable

from schemas.errors import InvalidValue
from schemas.frames import Delivery, FrameRef
from schemas.resources import RenditionSpec, WhenFull
from shared.ring import Lease, LeaseError, RingReader

# A lossless writer never has more in flight than its ring has slots; this only bounds a writer that lies.
_LOSSLESS_LIMIT = 256
# Slots that waiting pictures leave to others: the two newest pictures, which other readers are about to take, one that
# is being written, and one that is being encoded.
_SLOTS_LEFT = 4

Waiting = tuple[FrameRef, Lease | None]


def check_queue(spec: RenditionSpec, delivery: Delivery) -> None:
    """Refuse what the stream's writer cannot keep to.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    if delivery == "live" and spec.when_full == "block":
        fix = f"{spec.stream} is live, its writer waits for nobody; use drop-oldest, refuse or clear"
        raise InvalidValue("when_full", spec.when_full, fix)
    if delivery == "lossless" and spec.when_full in ("refuse", "clear"):
        fix = f"{spec.stream} is lossless, every picture is encoded; use block, its writer waits or refuses"
        raise InvalidValue("when_full", spec.when_full, fix)


class PictureQueue:
    """Between the event loop that receives references and the encoder's thread; follows the highest epoch.

    Of a live stream the newest picture waits, or as many as asked for, each leased so that it is not overwritten.
    Of a lossless stream every one waits: its writer has only so many in flight, and protects those.
    """

    def __init__(self, spec: RenditionSpec, reader: RingReader, on_bound: Callable[[int], None]) -> None:
        """`on_bound` is called from `put` with how many can wait, when that is fewer than asked for, once."""
        self._reader = reader
        self._on_bound = on_bound
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._epoch = -1
        self._closed = False
        self.dropped: Counter[str] = Counter()
        """Pictures that were not encoded, by reason: `drop-oldest`, `refuse`, `clear`."""
        self.missed = 0
        """References whose picture was overwritten or gone when it was to wait."""
        self._capacity, self._when_full = _settings(spec)
        self._told = self._capacity

    def __len__(self) -> int:
        return len(self._waiting)

    def change(self, spec: RenditionSpec) -> None:
        """Go on as `spec` says; pictures that wait already are encoded."""
        with self._changed:
            self._capacity, self._when_full = _settings(spec)
            self._told = self._capacity

    def put(self, ref: FrameRef) -> None:
        """Take a reference in; never blocks."""
        with self._changed:
            if ref.epoch < self._epoch:  # of a writer whose time is over, which it learns itself
                return
            self._epoch = ref.epoch
            lossless = ref.delivery == "lossless"
            if lossless or (self._capacity == 1 and self._when_full == "drop-oldest"):
                limit, when_full = (_LOSSLESS_LIMIT if lossless else 1), "drop-oldest"
                lease = None  # a live picture is used at once, or another one takes its place
            else:
                try:
                    lease = self._reader.lease(ref)
                except LeaseError:
                    self.missed += 1
                    return
                limit, when_full = self._limit(lease), self._when_full
            if len(self._waiting) >= limit and when_full == "refuse":
                self._drop(lease, "refuse")
                return
            while len(self._waiting) >= limit:
                for _ in range(len(self._waiting) if when_full == "clear" else 1):
                    self._drop(self._waiting.popleft()[1], when_full)
            self._waiting.append((ref, lease))
            self._changed.notify()

    def get(self, timeout_seconds: float) -> Waiting | None:
        """The next picture and its lease, or no lease where it was not held; None when none came in time or the queue
        was closed."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(timeout_seconds)
            return self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Let go of what nobody will encode any more."""
        with self._changed:
            while self._waiting:
                _, lease = self._waiting.popleft()
                if lease:
                    lease.release()

    def _limit(self, lease: Lease) -> int:
        limit = min(self._capacity, max(1, lease.ring_slots - _SLOTS_LEFT))
        if limit < self._told:
            self._told = limit
            self._on_bound(limit)
        return limit

    def _drop(self, lease: Lease | None, reason: str) -> None:
        self.dropped[reason] += 1
        if lease:
            lease.release()


def _settings(spec: RenditionSpec) -> tuple[int, WhenFull]:
    # A stream that has become live after `block` was asked for keeps the newest pictures.
    return spec.queue, "drop-oldest" if spec.when_full == "block" else spec.when_full

"""Between the event loop that receives references and the media thread that uses them."""

import threading
from collections import deque

from schemas.frames import FrameRef

# A lossless writer never has more in flight than its ring has slots; this only bounds a writer that lies.
_LOSSLESS_LIMIT = 256


class FrameInbox:
    """Keeps the latest reference of a live stream, or every one of a lossless stream; follows the highest epoch.

    `put` belongs to the event loop, `get` to one media thread.
    """

    def __init__(self) -> None:
        self._waiting: deque[FrameRef] = deque()
        self._changed = threading.Condition()
        self._epoch = -1
        self._closed = False
        self.replaced = 0
        """Live references that a newer one replaced before they were used."""

    def put(self, ref: FrameRef) -> None:
        """Take a reference in; never blocks."""
        with self._changed:
            if ref.epoch < self._epoch:  # of a writer whose time is over, which it learns itself
                return
            self._epoch = ref.epoch
            if ref.delivery == "live":
                self.replaced += len(self._waiting)
                self._waiting.clear()
            elif len(self._waiting) >= _LOSSLESS_LIMIT:
                self.replaced += 1
                self._waiting.popleft()
            self._waiting.append(ref)
            self._changed.notify()

    def get(self, timeout_seconds: float) -> FrameRef | None:
        """The next reference to use, or None when none came in time or the inbox was closed."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(timeout_seconds)
            return self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

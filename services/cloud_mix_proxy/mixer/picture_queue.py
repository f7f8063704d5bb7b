"""References to an input's pictures that wait for their moment."""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

from schemas.frames import FrameRef

_MOST: Final = 64
"""More than any input has within the delay; of those that claim to be far ahead the oldest go."""


class PictureQueue:
    """Filled by the event loop, emptied by the mixing thread. Nothing is held: a ring keeps its newest pictures."""

    def __init__(self, known: Iterable[FrameRef] = ()) -> None:
        self._waiting = deque(known, maxlen=_MOST)
        self._guard = threading.Lock()

    def put(self, ref: FrameRef) -> bool:
        """True: the oldest had to give way."""
        with self._guard:
            full = len(self._waiting) == _MOST
            self._waiting.append(ref)
        return full

    def clear(self) -> None:
        """Another writer begins."""
        with self._guard:
            self._waiting.clear()

    def at(self, pts_ns: int) -> FrameRef | None:
        """The newest that is not after this moment of the stream's timeline, taken out with all before it.

        None: there is none since the last one.
        """
        found: FrameRef | None = None
        with self._guard:
            while self._waiting and self._waiting[0].pts_ns <= pts_ns:
                found = self._waiting.popleft()
        return found

    def next(self) -> FrameRef | None:
        """The one after that, ahead of its moment: for when that one is gone."""
        with self._guard:
            return self._waiting.popleft() if self._waiting else None

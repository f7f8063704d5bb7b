"""The pictures that wait for an encoder, and what its program is told."""

import threading
from collections import deque
from enum import IntEnum
from typing import Final

from shared.pixel_formats import Picture

BLOCK_SECONDS: Final = 60.0
"""So long `video_write` waits for room with the policy `BLOCK`: an encoder that is restarted takes a few seconds."""


class AbortPolicy(IntEnum):
    """What `video_write` does when the queue is full."""

    REFUSE = 0
    DROP_HEAD = 1
    CLEAR = 2
    BLOCK = 3


class Result(IntEnum):
    """What `video_write` returns."""

    TAKEN = 0
    FULL = -1
    NOT_ENCODED = -2
    NOT_PUSHED = -3
    UNKNOWN_POLICY = -4


class Intake:
    """A program's side of an encoder. What is public here is written with `changed` held only."""

    def __init__(self, changed: threading.Condition, places: int, policy: int) -> None:
        """`changed`: shared with whoever takes the pictures. `places`: so many may wait."""
        self._changed, self._places, self._policy = changed, places, policy
        self.pictures: deque[Picture] = deque()
        self.closed = False
        self.lost = ""
        """Why nothing that is taken comes into the file any more."""
        self.not_encoded = self.not_pushed = 0
        """Failures that no `put` has told of yet."""
        self.replaced = 0
        """Pictures that were taken and had to make room, by the policies `DROP_HEAD` and `CLEAR`."""

    @property
    def works(self) -> bool:
        """It takes pictures, and what it took comes into the file."""
        return not self.closed and not self.lost

    def put(self, picture: Picture) -> Result:
        """Queue a picture; only `TAKEN` means that it was. Failures since the last call are told first."""
        with self._changed:
            if (failure := self._failure()) is not None:
                return failure
            if len(self.pictures) >= self._places:
                room = self._make_room()
                if (failure := self._failure()) is not None:  # it may have been what ended the wait
                    return failure
                if not room:
                    return Result.FULL
            self.pictures.append(picture)
            self._changed.notify_all()
        return Result.TAKEN

    def _failure(self) -> Result | None:
        if self.lost:
            return Result.NOT_PUSHED
        if self.closed:
            return Result.NOT_ENCODED
        if self.not_encoded:
            self.not_encoded -= 1
            return Result.NOT_ENCODED
        if self.not_pushed:
            self.not_pushed = 0
            return Result.NOT_PUSHED
        return None

    def _make_room(self) -> bool:
        if self._policy == AbortPolicy.DROP_HEAD:
            self.pictures.popleft()
            self.replaced += 1
        elif self._policy == AbortPolicy.CLEAR:
            self.replaced += len(self.pictures)
            self.pictures.clear()
        elif self._policy == AbortPolicy.BLOCK:
            self._changed.wait_for(lambda: len(self.pictures) < self._places or not self.works, BLOCK_SECONDS)
        return len(self.pictures) < self._places

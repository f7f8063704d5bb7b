"""Key frames asked of one rendition's producer: one request serves all viewers, and requests have a distance."""

import asyncio
import time
from typing import Protocol

KEY_REQUEST_SECONDS = 0.3  # one key frame mends every viewer's loss within this time


class KeyFrameMaker(Protocol):
    def request_key_frame(self) -> None: ...


class KeyFrames:
    """Lives in the event loop; asks nobody before `begin` and after `end`."""

    def __init__(self) -> None:
        self._producer: KeyFrameMaker | None = None
        self._asked_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        """Of the request that is due."""

    def begin(self, producer: KeyFrameMaker) -> None:
        self._producer = producer

    def request(self, at_most_every_s: float) -> None:
        """Ask the producer, now or as soon as the last request is that long ago; one request serves all askers."""
        loop = asyncio.get_running_loop()
        wait_s = max(0.0, self._asked_s + at_most_every_s - time.monotonic())
        if self._timer is not None and self._timer.when() <= loop.time() + wait_s:
            return
        self._cancel()
        if wait_s > 0:
            self._timer = loop.call_later(wait_s, self._ask)
        else:
            self._ask()

    def came(self) -> None:
        """A key frame has come by itself: the request that is due is not needed."""
        self._cancel()

    def end(self) -> None:
        self._cancel()
        self._producer = None

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        self._timer = None
        if self._producer is not None:
            self._asked_s = time.monotonic()
            self._producer.request_key_frame()

"""Tries again what may pass: quickly at first, until a deadline, never in step with others."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from services.frame_extractor.storage.errors import StorageError

# A store that throttles asks for a pause of some hundred milliseconds; one that restarts is looked for every 5 s.
_FIRST_SECONDS: Final = 0.1
_LAST_SECONDS: Final = 5.0
_GROWTH: Final = 2.0
_JITTER: Final = 0.2  # share of the delay, either way

ResultT = TypeVar("ResultT")


def delays_seconds() -> Iterator[float]:
    """0.1, 0.2, 0.4 and so on up to 5 s, each +-20 %; endless."""
    seconds = _FIRST_SECONDS
    while True:
        yield seconds * random.uniform(1 - _JITTER, 1 + _JITTER)
        seconds = min(seconds * _GROWTH, _LAST_SECONDS)


def attempt(
    work: Callable[[], ResultT],
    seconds: float,
    stop: threading.Event,
    on_retry: Callable[[], None] = lambda: None,
) -> ResultT:
    """The result of `work`, tried for so long; blocks, ends at once between attempts when `stop` is set.

    Raises:
        StorageError: what cannot pass, or the last failure of what did not.
    """
    deadline = time.monotonic() + seconds
    for delay_seconds in delays_seconds():
        try:
            return work()
        except StorageError as error:
            if not error.may_pass or stop.is_set() or time.monotonic() + delay_seconds > deadline:
                raise
            failure = error
        on_retry()
        if stop.wait(delay_seconds):
            raise failure
    raise AssertionError("delays have no end")

"""Ends what a thread waits for in libav or behind HTTP, at once: a silent peer must not hold a source that shall stop.

libav asks a callback several times a second whether to go on waiting; PyAV's compares the monotonic clock with a
deadline, and has no other way to say no. For a thread that shall stop, that clock runs ahead.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol
from weakref import WeakSet

_LEAP_SECONDS: Final = 1e6  # beyond any timeout; each look at the clock leaps again, as each wait notes its begin
_LOOK_SECONDS: Final = 0.1  # how often a thread that reads HTTP is looked after; libav looks as often


class Abortable(Protocol):
    def abort(self) -> None:
        """From another thread: end a read that waits."""


class _Block:
    """One thread's interruptible work."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._readers: WeakSet[Abortable] = WeakSet()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._watching = False

    def watch(self, reader: Abortable) -> None:
        with self._lock:
            self._readers.add(reader)
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, name="interrupt", daemon=True).start()

    def end(self) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_SECONDS):  # two events cannot be waited for at once
            if self.stop.is_set():
                with self._lock:
                    readers = tuple(self._readers)
                for reader in readers:
                    reader.abort()


_blocks: dict[int, _Block] = {}


class _Clock:
    """What PyAV's containers know as the module `time`."""

    def __init__(self) -> None:
        self._leaps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        block = _blocks.get(threading.get_ident())
        if block is not None and block.stop.is_set():
            self._leaps += 1
            return time.monotonic() + self._leaps * _LEAP_SECONDS
        return time.monotonic()


_clock = _Clock()


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Within the block, what this thread waits for in `open_input` and its container ends within 0.3 s of `stop`.

    The interrupted call raises as it does when a deadline passes. No second block in the same thread within it.
    """
    import av.container.core as core  # heavy, and not there in every image

    # Our clock stays there for good: it is the real one for every other thread.
    core.time = _clock  # type: ignore[attr-defined]
    ident = threading.get_ident()
    block = _blocks[ident] = _Block(stop)
    try:
        yield
    finally:
        del _blocks[ident]
        block.end()


def watch(reader: Abortable) -> None:
    """Have `reader` aborted when this thread's block is interrupted; nothing outside of one."""
    block = _blocks.get(threading.get_ident())
    if block is not None:
        block.watch(reader)

"""The thread of one source: opens it, delivers until it fails, waits, and opens it again, until it is told to end."""

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Literal

from schemas.errors import BadRequest, ErrorInfo, InternalError, InvalidValue, MeshError, TooMany, Unavailable
from services.capture.sink import StreamSink
from services.capture.sources.base import Source
from shared.backoff import Backoff
from shared.ring import RingError
from shared.tasks import set_within

log = logging.getLogger(__name__)

End = Literal["lost", "refused", "ended", "superseded"]
"""Why an attempt is over. `refused`: the source can never be played as it is; `ended`: a file, at its end."""

# A peer that gave pictures for so long was there: it is looked for every second again. One that gave a few has
# answered, so the schedule goes no further; only attempts without any picture make it slower.
_GOOD_SECONDS = 2.0
# The first try after good pictures: a sender that was restarted behind a server begins with a key picture, and who
# waits for it there sees that one instead of the next. Spread, because cameras behind one switch are lost together.
_FIRST_RETRY_SECONDS = (0.1, 0.5)
_REFUSED_RETRY_SECONDS = 60.0  # somebody may put a good file in its place, and nobody tells us
# Threads that hang in a driver and cannot be ended. Each has a device and some memory; more of them heal nothing.
MAX_LEFT_BEHIND = 4


class SourceThread:
    """Runs one source into one sink. `told` is called from the thread at the end of each attempt."""

    def __init__(
        self,
        stream: str,
        make: Callable[[], Source],
        sink: StreamSink,
        told: Callable[[End, ErrorInfo | None], None],
    ) -> None:
        self.stream, self.sink = stream, sink
        self._make, self._told = make, told
        self._stop = threading.Event()
        self._attempt_stop = threading.Event()
        self._reopen: tuple[MeshError, float] | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {stream}", daemon=True)
        self.source: Source | None = None
        """The one that runs now."""
        self.attempt_since: float | None = None
        """Monotonic seconds; None between attempts."""

    def start(self) -> None:
        """Begin.

        Raises:
            TooMany: earlier threads of this stream still hang.
        """
        stuck = left_behind.of(self.stream)
        if stuck >= MAX_LEFT_BEHIND:
            raise TooMany(
                f"{self.stream}: {stuck} earlier attempts hang in the source's driver; look at the device, "
                f"then restart capture"
            )
        self._thread.start()

    @property
    def reopen_asked_at(self) -> float | None:
        """Monotonic seconds since when the source has been asked to let go and has not."""
        return self._reopen[1] if self._reopen else None

    @property
    def reopen_asked_for(self) -> MeshError | None:
        """Why the source has been asked to let go."""
        return self._reopen[0] if self._reopen else None

    def reopen(self, reason: MeshError) -> None:
        """Ask the source to let go, and open it again."""
        if self._reopen is None:
            self._reopen = (reason, time.monotonic())
            self._attempt_stop.set()

    async def end(self, deadline_seconds: float) -> bool:
        """End the thread; False: it hangs and was left behind."""
        self._stop.set()
        self._attempt_stop.set()
        if not self._thread.is_alive() or await set_within(self._ended, deadline_seconds):
            return True
        left_behind.add(self.stream, self._thread)
        return False

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._retry()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                self._loop.call_soon_threadsafe(self._ended.set)

    def _retry(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            end, problem, brought, good_seconds = self._attempt()
            if self._stop.is_set():
                return
            self._told(end, problem)
            if end in ("ended", "superseded"):
                return
            if good_seconds >= _GOOD_SECONDS:
                backoff.reset()
                seconds = random.uniform(*_FIRST_RETRY_SECONDS)
            else:
                seconds = backoff.again_seconds() if brought else backoff.next_seconds()
            if self._stop.wait(_REFUSED_RETRY_SECONDS if end == "refused" else seconds):
                return

    def _attempt(self) -> tuple[End, ErrorInfo | None, bool, float]:
        """One life of the source: how it ended, why, whether it brought pictures, and for how long."""
        attempt_stop = self._attempt_stop = threading.Event()
        self._reopen = None
        if self._stop.is_set():  # it was set before the event of this attempt was there
            return "lost", None, False, 0.0
        sink, played = self.sink, self.sink.arrivals.last_ns > 0
        sink.arrivals.first_at = None
        end: End = "lost"
        # Not the exception: its traceback would keep the source's decoders, and their threads, until garbage is sought.
        problem: ErrorInfo | None = None
        self.attempt_since = time.monotonic()
        try:
            self.source = self._make()
            self.source.run(sink, attempt_stop)
            if not attempt_stop.is_set():
                end = "ended"
        except BadRequest as error:
            # What has been played before can be played again: then it is a peer that restarts, seen half-way. Not when
            # its pictures came, and cannot be made what the settings want.
            unfit = isinstance(error, InvalidValue) and sink.arrivals.first_at is not None
            end, problem = "lost" if played and not unfit else "refused", error.info
        except MeshError as error:
            problem = error.info
        except RingError as error:
            problem = InternalError(str(error)).info
            if sink.frames.superseded:
                end, problem = "superseded", InternalError(f"another writer has taken over: {error}").info
        except Exception:  # a bug in one source must not end the others' process
            if self._stop.is_set():
                return end, None, False, 0.0
            log.exception("source failed", extra={"stream": self.stream})
            problem = InternalError("internal error in the source; see the log of capture").info
        finally:
            self.source = None
            self.attempt_since = None
            if not self._stop.is_set():
                sink.lost()
        asked = self.reopen_asked_for
        if asked is not None and end == "lost":
            problem = asked.info
        if end == "lost" and problem is None:
            problem = Unavailable("the source ended").info
        return end, problem, sink.arrivals.first_at is not None, sink.arrivals.good_seconds


class LeftBehind:
    """Threads that did not end when they were told to. They end with the process, or when their driver lets go."""

    def __init__(self) -> None:
        self._threads: dict[str, list[threading.Thread]] = {}
        self.total = 0
        """Since the start."""

    def add(self, stream: str, thread: threading.Thread) -> None:
        self._threads.setdefault(stream, []).append(thread)
        self.total += 1

    def of(self, stream: str) -> int:
        """How many of this stream are still there."""
        alive = [thread for thread in self._threads.get(stream, ()) if thread.is_alive()]
        if alive:
            self._threads[stream] = alive
        else:
            self._threads.pop(stream, None)
        return len(alive)

    @property
    def alive(self) -> int:
        return sum(self.of(stream) for stream in tuple(self._threads))


left_behind = LeftBehind()  # of the process: a runner's end must not make them forgotten

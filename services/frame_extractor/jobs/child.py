"""The process of one job: media stays out of the service, where it could crash it, fill its memory or block it.

Its standard input and output are the connection to the worker; see `wire`.
"""

import gc
import os
import resource
import select
import signal
import sys
import threading
import time
from typing import BinaryIO

import msgspec
from msgspec import Struct

from services.frame_extractor.engine import Limits
from services.frame_extractor.extraction import Extraction, ExtractionFailed
from services.frame_extractor.jobs.memory import needed_bytes
from services.frame_extractor.jobs.pages import make_pages
from services.frame_extractor.jobs.wire import (
    ALIVE,
    END,
    GO,
    LENGTH_BYTES,
    SILENCE_STATUS,
    Advanced,
    Failed,
    Finished,
    Opened,
    Order,
    message,
    order_decoder,
    out_of_memory,
)
from services.frame_extractor.settings import FrameExtractorSettings
from services.frame_extractor.storage import Places
from shared.netguard.errors import NO_MEMORY
from shared.parent import killed_with_parent
from shared.settings import load_settings

_TELL_SECONDS = 0.2  # twice a second something is told to the mesh


def main() -> None:
    """Do one job, say how it went, end."""
    killed_with_parent()  # if the worker is gone already, the connection is closed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the service, which ends this
    worker = _Worker()
    settings = load_settings(FrameExtractorSettings, "frame-extractor")
    places = Places(settings)
    asked = worker.hear()
    if asked is None:
        return
    order = order_decoder.decode(asked)
    # What is written to, which is what counts: libav's threads reserve far more than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (order.memory_bytes, order.memory_bytes))

    listener = _Listener(worker, order.silence_seconds)

    def end(said: Finished | Failed) -> None:
        worker.say(msgspec.structs.replace(said, storage=places.counts.take()))
        listener.heard_out()

    try:
        limits = Limits(wall_s=settings.job_seconds)
        with Extraction(order.request, places, limits, threads=order.threads) as extraction:
            end(_done(worker, extraction, listener))
    except ExtractionFailed as error:
        if NO_MEMORY in error.message:  # libav's own word for it
            end(_out_of_memory(order))
        else:
            end(Failed(kind=error.kind, message=error.message, may_pass=error.may_pass))
    except MemoryError:
        gc.collect()  # what the extraction held, so that there is some to say so with
        end(_out_of_memory(order))


def _out_of_memory(order: Order) -> Failed:
    # Not with the same video and the same limit: it does not pass by itself.
    return Failed(kind="internal", message=out_of_memory(order.memory_bytes), may_pass=False)


def _done(worker: "_Worker", extraction: Extraction, listener: "_Listener") -> Finished:
    worker.say(Opened(needs_bytes=needed_bytes(extraction.width, extraction.height, extraction.threads)))
    if worker.hear_go() != GO:
        os._exit(0)  # the worker has gone, or wants no more
    listener.start()
    teller = _Teller(worker, extraction)
    teller.start()
    try:
        facts, frames = extraction.run()
    finally:
        teller.end()
    pages = tuple(make_pages(frames))
    return Finished(
        facts=facts,
        pictures=len(frames),
        pages=tuple(page.data for page in pages),
        firsts=tuple(page.first for page in pages),
    )


class _Teller(threading.Thread):
    """Tells how far it is, now and then."""

    def __init__(self, worker: "_Worker", extraction: Extraction) -> None:
        super().__init__(name="teller", daemon=True)
        self._worker, self._extraction = worker, extraction
        self._ended = threading.Event()

    def run(self) -> None:
        told = None
        while not self._ended.wait(_TELL_SECONDS):
            now = Advanced(done=self._extraction.done, expected=self._extraction.expected)
            if now != told:
                self._worker.say(now)
                told = now

    def end(self) -> None:
        self._ended.set()
        self.join()


class _Listener(threading.Thread):
    """Ends the process when its worker is silent: the job is somebody else's then, and nothing more may be written.

    A worker that stands still (SIGSTOP, a debugger, swapping) leaves its process running. Where both stood still, the
    time is over when they go on.
    """

    def __init__(self, worker: "_Worker", silence_seconds: float) -> None:
        super().__init__(name="listener", daemon=True)
        self._worker, self._silence_seconds = worker, silence_seconds

    def run(self) -> None:
        while (heard := self._worker.hear_within(self._silence_seconds)) == ALIVE:
            pass
        if heard != END:
            os._exit(SILENCE_STATUS)

    def heard_out(self) -> None:
        """Wait until the worker has heard how the job ended: nothing is left behind, or taken, of what it says then."""
        if self.ident is None:  # the job failed before anybody listened
            self.run()
        else:
            self.join()


class _Worker:
    """The connection to the worker."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()  # without a buffer: behind this job's words come those to the next process
        # Whatever a library prints goes to the log, not between the messages.
        self._output: BinaryIO = os.fdopen(os.dup(sys.stdout.fileno()), "wb", 0)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def hear(self) -> bytes | None:
        """The next message; None when the worker has gone."""
        length = self._exactly(LENGTH_BYTES)
        return self._exactly(int.from_bytes(length, "big")) if len(length) == LENGTH_BYTES else None

    def hear_go(self) -> bytes:
        return self._exactly(len(GO))

    def hear_within(self, seconds: float) -> bytes:
        """One byte; nothing when the worker has gone, or says nothing for so long.

        A process that stood still for longer than that does not count what had come before.
        """
        begun_s = time.monotonic()
        ready, _, _ = select.select([self._input], [], [], seconds)
        return os.read(self._input, 1) if ready and time.monotonic() - begun_s <= seconds else b""

    def _exactly(self, count: int) -> bytes:
        """So many bytes, fewer when the worker has gone."""
        data = b""
        while len(data) < count and (more := os.read(self._input, count - len(data))):
            data += more
        return data

    def say(self, item: Struct) -> None:
        data = memoryview(message(item))
        while data:
            data = data[self._output.write(data) :]


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # not held up by a media thread that hangs in a network read

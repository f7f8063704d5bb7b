"""Between decoding and writing: pictures wait here, bounded in bytes, and are written several at once."""

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from services.frame_extractor.storage.errors import StorageError
from services.frame_extractor.storage.writer import Writer

OnWritten = Callable[[int], None]


class Uploads:
    """Any thread may `put`. Whoever puts more than fits waits: of a job no picture is left out.

    As a context: leaving it finishes, leaving it by an error drops what waits.
    """

    def __init__(self, writer: Writer, threads: int, max_bytes: int, on_written: OnWritten | None = None) -> None:
        """Args:
        on_written: told of every picture's number once it is stored, by several threads; must not block.
        """
        self.writer = writer
        self._max_bytes = max_bytes
        self._on_written = on_written or (lambda index: None)
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._held_bytes = self._held = 0  # what waits and what is being written
        self._changed = threading.Condition()
        self._ending = False
        self._failure: Exception | None = None
        self.waits = 0
        """Times that decoding waited for writing."""
        self.waited_seconds = 0.0
        self.dropped = 0
        """Pictures that were not written, because one before them could not be, or the job was given up."""
        # Daemons: a store that does not answer must not hold up a process that is to end.
        self._threads = [threading.Thread(target=self._run, name=f"upload-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, index: int, data: bytes) -> None:
        """Have picture `index` written; blocks while too much waits already.

        Raises:
            StorageError: a picture before could not be written; nothing will be any more.
        """
        with self._changed:
            if self._held and self._held_bytes + len(data) > self._max_bytes:
                self.waits += 1
                began = time.monotonic()
                # No deadline of its own: what is being written has the writer's, and ends this wait either way.
                self._changed.wait_for(
                    lambda: self._ending or not self._held or self._held_bytes + len(data) <= self._max_bytes
                )
                self.waited_seconds += time.monotonic() - began
                self.writer.counts.note(waits=1, waited_seconds=time.monotonic() - began)
            if self._failure is not None:
                raise self._failure
            if self._ending:
                raise StorageError("storage", "the writing of pictures has ended", may_pass=True)
            self._waiting.append((index, data))
            self._held_bytes += len(data)
            self._held += 1
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until all is written, and settled; each picture has the writer's deadline.

        Raises:
            StorageError: one could not be.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ending or not self._held)
        self.close()
        if self._failure is not None:
            raise self._failure
        self.writer.settle()

    def close(self) -> None:
        """Drop what waits; does not wait for what is being written."""
        with self._changed:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.close()

    def _end(self) -> None:
        self._ending = True
        self._drop(len(self._waiting))
        self._waiting.clear()
        self._changed.notify_all()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self.writer.counts.note(dropped=count)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ending or bool(self._waiting))
                if not self._waiting:
                    return
                index, data = self._waiting.popleft()
            try:
                self.writer.write(index, data)
                self._on_written(index)
            except Exception as error:  # whatever it is, who puts pictures has to hear of it
                with self._changed:
                    self._failure = self._failure or error
                    self._drop(1)
                    self._end()
            with self._changed:
                self._held_bytes -= len(data)
                self._held -= 1
                self._changed.notify_all()

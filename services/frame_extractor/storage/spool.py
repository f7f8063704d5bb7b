"""Videos that were fetched, on disk for as long as somebody reads them, within one budget for all processes.

What is there counts by its size on disk, under a lock on the folder; each file is locked by the process that has it.
So a killed process gives back what it had: whoever looks next finds its files without a lock, and removes them.
"""

import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from services.frame_extractor.storage.errors import StorageError

_SUFFIX: Final = ".video"
_LOCK: Final = ".lock"
_LOOK_SECONDS: Final = 0.2  # other processes tell nobody when they are done with a video
_GROWTH_BYTES: Final = 8 << 20  # of a video whose length the server does not tell
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class NoRoom(StorageError):
    """The budget, or the disk, is used up at the moment."""

    def __init__(self, message: str) -> None:
        super().__init__("download", message, may_pass=True)


class Spool:
    """The folder of fetched videos. Any thread and any process may use it; every method blocks."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes

    def sweep(self) -> int:
        """Remove what nobody has any more; how many files that were.

        Raises:
            NoRoom: the folder cannot be written.
        """
        if not self.folder.exists():
            return 0
        with self._locked():
            return self._sweep()

    def used_bytes(self) -> int:
        with self._locked():
            return self._used_bytes()

    def create(self) -> "SpoolFile":
        """A new empty file.

        Raises:
            NoRoom: the folder cannot be written.
        """
        with self._locked():
            path = self.folder / f"{secrets.token_hex(8)}{_SUFFIX}"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return SpoolFile(self, path, handle)

    def extend(self, handle: int, size_bytes: int, wait_seconds: float, stop: threading.Event) -> None:
        """Have a file take up `size_bytes` of the disk; waits for others to end where there is no room.

        Raises:
            NoRoom: not within `wait_seconds`, or not before `stop`.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            with self._locked():
                missing_bytes = size_bytes - os.fstat(handle).st_size
                if missing_bytes <= 0:
                    return
                used_bytes = self._used_bytes()
                if used_bytes + missing_bytes > self.budget_bytes and self._sweep():
                    used_bytes = self._used_bytes()
                if used_bytes + missing_bytes <= self.budget_bytes:
                    os.posix_fallocate(handle, 0, size_bytes)
                    return
            if time.monotonic() >= deadline or stop.wait(_LOOK_SECONDS):
                raise NoRoom(
                    f"{missing_bytes} bytes more for fetched videos, of {self.budget_bytes} bytes {used_bytes} are in"
                    " use; try later, or raise FRAMEMESH_FRAME_EXTRACTOR_FETCH_BYTES"
                )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
            handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)  # held for as long as it takes to look at some names
                yield
            finally:
                os.close(handle)
        except OSError as error:
            full = "the disk is full" if error.errno in _FULL else error.strerror
            raise NoRoom(
                f"folder for fetched videos {self.folder}: {full}; free some space, or move the data folder"
            ) from None

    def _used_bytes(self) -> int:
        sizes = 0
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                sizes += path.stat(follow_symlinks=False).st_size
        return sizes

    def _sweep(self) -> int:
        removed = 0
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    removed += 1
                except BlockingIOError:  # somebody has it
                    pass
                finally:
                    os.close(handle)
        return removed


class SpoolFile:
    """One fetched video. Belongs to the thread that fetches it; `remove` from any."""

    def __init__(self, spool: Spool, path: Path, handle: int) -> None:
        self.path = path
        self.length_bytes = 0
        """Bytes that were fetched."""
        self._spool = spool
        self._handle = handle
        self._lock = threading.Lock()

    def reserve(self, size_bytes: int, wait_seconds: float, stop: threading.Event) -> None:
        """Take up so much of the budget at once: two videos that each wait for the other's end would wait for good.

        Raises:
            NoRoom: see `Spool.extend`.
        """
        self._spool.extend(self._handle, size_bytes, wait_seconds, stop)

    def append(self, data: bytes, wait_seconds: float, stop: threading.Event) -> None:
        """Raises:
        NoRoom: see `Spool.extend`.
        """
        end = self.length_bytes + len(data)
        if end > os.fstat(self._handle).st_size:
            self.reserve(max(end, self.length_bytes + _GROWTH_BYTES), wait_seconds, stop)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._handle, view, self.length_bytes)
            self.length_bytes += written
            view = view[written:]

    def restart(self) -> None:
        """Forget what was fetched, and keep the room."""
        self.length_bytes = 0

    def finish(self) -> None:
        """All has come: give back the room that was not needed."""
        os.ftruncate(self._handle, self.length_bytes)

    def remove(self) -> None:
        """Take it off the disk; a second time does nothing. Who has it open reads on."""
        with self._lock:
            handle, self._handle = self._handle, -1
        if handle < 0:
            return
        with suppress(FileNotFoundError):
            self.path.unlink()
        os.close(handle)

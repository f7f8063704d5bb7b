"""Brings a video from HTTP to the spool: bounded in bytes, in time and in patience; goes on where it broke off."""

import threading
import time
from dataclasses import dataclass
from typing import Final

from schemas.errors import MeshError, Unavailable
from services.frame_extractor.storage.attempts import delays_seconds
from services.frame_extractor.storage.counts import StorageCounts
from services.frame_extractor.storage.errors import StorageError, download_error
from services.frame_extractor.storage.spool import SpoolFile
from shared.netguard import GuardedUrl, HttpReader, Timeouts

_READ_BYTES: Final = 256 << 10
_RESUMES: Final = 4  # times in a row that a server may break off without sending anything in between
_SLOW_SECONDS: Final = 30.0  # over which the rate is judged: longer than a pause of TCP after a loss
_SPARSE_BYTES: Final = 4 << 20  # come sooner than the answers to a dozen requests


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What fetching one video may take."""

    video_bytes: int
    seconds: float
    bytes_per_second: int
    """Less than that is given up."""
    network_seconds: float
    """For an answer to begin, and without any byte."""
    room_seconds: float = 60.0
    """To wait for others that use up the room for fetched videos."""
    slow_seconds: float = _SLOW_SECONDS
    sparse_bytes: int = _SPARSE_BYTES
    """Shorter videos are fetched also where little of them is needed."""

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(self.network_seconds, self.network_seconds)

    def check_size(self, size_bytes: int | None, shown: str) -> None:
        """Raises:
        StorageError: video; longer than any may be.
        """
        if size_bytes is not None and size_bytes > self.video_bytes:
            raise StorageError(
                "video",
                f"video {shown!r}: has {size_bytes} bytes, of {self.video_bytes} that are allowed;"
                " raise FRAMEMESH_FRAME_EXTRACTOR_VIDEO_BYTES",
            )


class Patience:
    """With the server of one video: how long it may take, and how little it may send. Belongs to one thread."""

    def __init__(self, limits: FetchLimits, shown: str, stop: threading.Event) -> None:
        self._limits, self._shown, self._stop = limits, shown, stop
        self._ends = time.monotonic() + limits.seconds
        self.begin()

    def begin(self) -> None:
        """The server is asked for something: what it sends is counted from now on."""
        self._began, self._bytes = time.monotonic(), 0

    def came(self, size_bytes: int) -> None:
        self._bytes += size_bytes

    def check(self) -> None:
        """Raises:
        StorageError: timeout; download: it is too slow, or nobody wants it any more.
        """
        now, shown, limits = time.monotonic(), self._shown, self._limits
        if self._stop.is_set():
            raise StorageError("download", f"video {shown!r}: given up", may_pass=True)
        if now > self._ends:
            raise StorageError("timeout", f"video {shown!r}: not here within {limits.seconds:g} s")
        elapsed_seconds = now - self._began
        if elapsed_seconds < limits.slow_seconds:
            return
        if self._bytes < limits.bytes_per_second * elapsed_seconds:
            raise StorageError(
                "download",
                f"video {shown!r}: the server sends {self._bytes / elapsed_seconds:.0f} bytes a second,"
                f" less than {limits.bytes_per_second}",
                may_pass=True,
            )
        self.begin()


class Fetch:
    """One video on its way; belongs to one thread."""

    def __init__(
        self,
        guarded: GuardedUrl,
        file: SpoolFile,
        limits: FetchLimits,
        stop: threading.Event,
        counts: StorageCounts | None = None,
    ) -> None:
        self._counts = counts or StorageCounts()
        self._guarded = guarded
        self._file = file
        self._limits = limits
        self._stop = stop
        self._patience = Patience(limits, guarded.shown, stop)
        self._size_bytes: int | None = None

    def run(self, reader: HttpReader, head: bytes) -> None:
        """Fetch it all; `head` has been read from `reader` already. Blocks.

        Raises:
            StorageError: download, timeout or video (it is too long).
        """
        self._size_bytes = reader.size_bytes
        self._limits.check_size(self._size_bytes, self._guarded.shown)
        if self._size_bytes is not None:
            self._file.reserve(self._size_bytes, self._limits.room_seconds, self._stop)
        self._take(head)
        delays, fruitless, furthest = delays_seconds(), 0, 0
        while True:
            try:
                self._drain(reader)
                break
            except Unavailable as error:
                # From the start again is no progress before it gets further than ever.
                fruitless = 0 if self._file.length_bytes > furthest else fruitless + 1
                furthest = max(furthest, self._file.length_bytes)
                if fruitless >= _RESUMES or self._stop.is_set():
                    raise download_error(error) from None
                if fruitless == 0:
                    delays = delays_seconds()
            except MeshError as error:
                raise download_error(error) from None
            self._stop.wait(next(delays))
            self._patience.check()
            reader = self._again(reader)
        self._file.finish()
        self._counts.note(fetched_bytes=self._file.length_bytes)

    def _drain(self, reader: HttpReader) -> None:
        try:
            while data := reader.read(_READ_BYTES):
                self._take(data)
                self._patience.check()
        finally:
            reader.close()

    def _again(self, reader: HttpReader) -> HttpReader:
        """A reader of the rest, where the server knows how, and it is the same video still; else of it all.

        Where that cannot be opened, the old one: its next read asks again, and fails or goes on where it was.
        """
        self._counts.note(resumed=1)
        at = self._file.length_bytes if reader.seekable() else 0
        try:
            fresh = HttpReader(self._guarded, self._limits.timeouts, at)
        except Unavailable:
            return reader
        except MeshError as error:
            raise download_error(error) from None
        if at and fresh.size_bytes != self._size_bytes:
            fresh.close()
            raise StorageError("download", f"video {self._guarded.shown!r}: changed while it was read", may_pass=True)
        if not at:
            self._file.restart()
        return fresh

    def _take(self, data: bytes) -> None:
        self._limits.check_size(self._file.length_bytes + len(data), self._guarded.shown)
        self._file.append(data, self._limits.room_seconds, self._stop)
        self._patience.came(len(data))

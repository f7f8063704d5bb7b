"""Reads parts of a remote video, and keeps what is made of them as a video in the spool."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from schemas.errors import MeshError, Unavailable
from services.frame_extractor.storage.attempts import delays_seconds
from services.frame_extractor.storage.counts import StorageCounts
from services.frame_extractor.storage.errors import StorageError, download_error
from services.frame_extractor.storage.fetch import FetchLimits, Patience
from services.frame_extractor.storage.spool import NoRoom, Spool, SpoolFile
from shared.netguard import GuardedUrl, HttpReader, interruptible

_log = logging.getLogger(__name__)

_HEAD_BYTES: Final = 16
_TRIES: Final = 5  # times in a row that a server may break off
_READ_BYTES: Final = 256 << 10


class Parts:
    """The bytes of one video, each read when it is asked for. Belongs to one thread."""

    def __init__(
        self, guarded: GuardedUrl, limits: FetchLimits, size_bytes: int, stop: threading.Event, counts: StorageCounts
    ) -> None:
        self.size_bytes = size_bytes
        self.fragmented = False
        """Set by who looks at it: an MP4 whose index is all over it."""
        self.read_bytes = 0
        self._guarded, self._limits, self._stop, self._counts = guarded, limits, stop, counts
        self._patience = Patience(limits, guarded.shown, stop)

    def read(self, start: int, end: int) -> bytes:
        """Raises:
        StorageError: download, timeout; they do not come, after some tries, or come too slowly.
        """
        data = bytearray()
        self._patience.begin()
        delays = delays_seconds()
        for left in reversed(range(_TRIES)):
            try:
                with interruptible(self._stop):
                    self._append(data, start, end)
                return bytes(data)
            except Unavailable as error:
                if not left or self._stop.wait(next(delays)):
                    raise download_error(error) from None
                self._counts.note(resumed=1)
            except MeshError as error:
                raise download_error(error) from None
        raise AssertionError("the last try returns or raises")

    def _append(self, data: bytearray, start: int, end: int) -> None:
        if start + len(data) >= end:
            return
        reader = HttpReader(self._guarded, self._limits.timeouts, start + len(data), end)
        try:
            while start + len(data) < end and (more := reader.read(min(_READ_BYTES, end - start - len(data)))):
                data += more
                self.read_bytes += len(more)
                self._counts.note(fetched_bytes=len(more))
                self._patience.came(len(more))
                self._patience.check()
        finally:
            reader.close()


MakeExcerpt = Callable[[Parts, bytes], Sequence[bytes] | None]
"""Gets the first bytes besides; returns the parts of a video of its own, or None: all of it is needed."""


def fetch_excerpt(
    guarded: GuardedUrl,
    limits: FetchLimits,
    spool: Spool,
    stop: threading.Event,
    make: MakeExcerpt,
    counts: StorageCounts,
) -> tuple[SpoolFile | None, bool]:
    """What `make` makes of a video; None where that is nothing, or cannot be had; and whether it is `fragmented`.

    Raises:
        StorageError: url, download; the video cannot be read at all.
    """
    with interruptible(stop):
        try:
            reader = HttpReader(guarded, limits.timeouts)
        except MeshError as error:
            raise download_error(error) from None
        try:
            size_bytes, begins = reader.size_bytes or 0, reader.read(_HEAD_BYTES)
            worth_it = reader.seekable() and limits.sparse_bytes <= size_bytes <= limits.video_bytes
        except MeshError as error:
            raise download_error(error) from None
        finally:
            reader.close()
    if not worth_it:
        return None, False
    parts = Parts(guarded, limits, size_bytes, stop, counts)
    try:
        made = make(parts, begins)
        if made is None:
            return None, parts.fragmented
        file = spool.create()
        try:
            file.reserve(sum(map(len, made)), 0, stop)
            for part in made:
                file.append(part, 0, stop)
            file.finish()
        except BaseException:  # nothing stays on the disk, whatever it was
            file.remove()
            raise
    except NoRoom:
        return None, False
    except StorageError as error:
        _log.info("video %r: not read in parts: %s", guarded.shown, error.message)
        return None, parts.fragmented
    _log.info("video %r: %d of %d bytes were needed", guarded.shown, parts.read_bytes, size_bytes)
    return file, parts.fragmented

"""Writes the pictures of one job to where its template says; the same picture twice is one file."""

import threading
import time
from collections.abc import Callable
from typing import Final

from schemas.stills import StillFormat
from services.frame_extractor.storage.attempts import attempt
from services.frame_extractor.storage.counts import StorageCounts
from services.frame_extractor.storage.errors import StorageError
from services.frame_extractor.storage.place import Place
from services.frame_extractor.storage.template import PathTemplate

Put = Callable[[Place, bytes, StillFormat], None]
_NEVER: Final = threading.Event()


class Writer:
    """Any thread may use it, many at once."""

    def __init__(
        self,
        template: PathTemplate,
        put: Put,
        settle: Callable[[Place], None],
        seconds: float,
        stop: threading.Event | None,
        counts: StorageCounts | None = None,
    ) -> None:
        self.counts = counts or StorageCounts()
        self._template = template
        self._put = put
        self._settle = settle
        self._seconds = seconds
        self._stop = stop or _NEVER
        self._lock = threading.Lock()
        self.written = 0
        self.written_bytes = 0
        self.retries = 0
        """Attempts that failed and were followed by another."""

    def path(self, index: int) -> str:
        """Where picture `index` is, or will be; follows from the template and the number only."""
        return self._template.path(index)

    def write(self, index: int, data: bytes) -> None:
        """Write picture `index`, whole or not at all, over what is there; blocks, tries again what may pass.

        Raises:
            StorageError: storage.
        """
        place = self._template.place(index)
        began = time.monotonic()
        attempt(
            lambda: self._put(place, data, self._template.file_format), self._seconds, self._stop, self._count_retry
        )
        with self._lock:
            self.written += 1
            self.written_bytes += len(data)
        self.counts.note(written=1, written_bytes=len(data), write_seconds=time.monotonic() - began)

    def settle(self) -> None:
        """Have what was written survive a loss of power: a job is not complete before. Blocks.

        Raises:
            StorageError: storage.
        """
        if self.written:
            self._settle(self._template.place(0))

    def _count_retry(self) -> None:
        with self._lock:
            self.retries += 1
        self.counts.note(retries=1)


def no_such_account(scheme: str) -> StorageError:
    """What is said of a bucket that no account and no folder was given for."""
    variables = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if scheme == "s3" else "TOS_ENDPOINT"
    return StorageError("storage", f"{scheme}:// has no credentials here; set {variables}, or buckets for a folder")

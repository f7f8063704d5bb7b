"""What reading videos and writing pictures has cost, counted where it is done."""

import threading

import msgspec


class StorageFigures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one process, or of one job."""

    written: int = 0
    """Pictures."""
    written_bytes: int = 0
    write_seconds: float = 0.0
    """Of all pictures together, tries and pauses between them included; several are written at once."""
    retries: int = 0
    """Requests that failed and were followed by another."""
    waits: int = 0
    """Times that decoding waited for writing."""
    waited_seconds: float = 0.0
    dropped: int = 0
    """Pictures that were made and not written."""
    fetched_bytes: int = 0
    """Of videos."""
    resumed: int = 0
    """Times that a server was asked for the rest of what it broke off."""

    def plus(self, other: "StorageFigures") -> "StorageFigures":
        names = self.__struct_fields__
        return StorageFigures(**{name: getattr(self, name) + getattr(other, name) for name in names})


class StorageCounts:
    """Any thread may note."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.figures = StorageFigures()
        """So far."""

    def note(self, **more: float) -> None:
        """More of the fields of `StorageFigures`."""
        with self._lock:
            self.figures = self.figures.plus(StorageFigures(**more))  # type: ignore[arg-type]

    def add(self, figures: StorageFigures) -> None:
        """What another process has counted."""
        with self._lock:
            self.figures = self.figures.plus(figures)

    def take(self) -> StorageFigures:
        """All so far; counting begins anew."""
        with self._lock:
            taken, self.figures = self.figures, StorageFigures()
            return taken

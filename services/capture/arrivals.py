"""What has come from a source: how much, how often, and since when."""

import time
from collections.abc import Callable

from services.capture.cadence import Cadence


class Arrivals:
    """Counts what a source sends, looked at or not. Noted by the source's thread, read by anyone."""

    def __init__(self, arrival: Callable[[], None]) -> None:
        """`arrival`: called once for each `expect`, when something comes."""
        self._tell = arrival
        self._expecting = True
        self.cadence = Cadence()
        self.opened_at: float | None = None
        """Monotonic seconds; None while the source is not open."""
        self.first_at: float | None = None
        """Monotonic seconds of the first picture since the source was opened."""
        self.at = 0.0
        """Monotonic seconds of the newest picture."""
        self.last_ns = 0
        """CLOCK_REALTIME of the newest picture."""
        self.pictures = 0
        self.bytes = 0

    def opened(self) -> None:
        """The source is open; pictures will come."""
        self.first_at = None
        self.opened_at = time.monotonic()
        self._expecting = True

    def lost(self) -> None:
        """The source no longer delivers."""
        self.opened_at = None
        self._expecting = True

    def expect(self) -> None:
        """Ask to be told of the next picture."""
        self._expecting = True

    def note(self, payload_bytes: int, pictures: int) -> None:
        """So much has come just now; 0 pictures: of a source that has none, sound."""
        now = time.monotonic()
        if self.first_at is None:
            self.first_at = now
        else:
            self.cadence.note(now - self.at)
        self.pictures += pictures
        self.bytes += payload_bytes
        self.last_ns = time.time_ns()
        self.at = now
        if self._expecting:
            self._expecting = False
            self._tell()

    @property
    def good_seconds(self) -> float:
        """For how long pictures came since the source was opened last."""
        return self.at - self.first_at if self.first_at is not None else 0.0

"""The state of one stream: as it was last reported, since when, and what its device refuses beside it."""

import time
from typing import Any

import msgspec

from schemas.errors import ErrorInfo
from schemas.resources import StreamActual
from shared.reconcile import Reporter


class StreamState:
    """Changed in the event loop only."""

    def __init__(self, stream: str, reporter: Reporter) -> None:
        self._stream, self._reporter = stream, reporter
        self._changed_at = 0.0
        self.actual: StreamActual | None = None
        """As it was last reported; None before the start."""
        self.refused: ErrorInfo | None = None
        """What the device refuses: the stream's error for as long as it has no other."""
        self.reconnects = 0

    def begin(self, actual: StreamActual) -> None:
        """What the reports to come change."""
        self.actual = actual

    def report(self, **changes: Any) -> None:
        """Change fields of the state and report it; nothing before `begin`."""
        if self.actual is None:
            return
        if changes.get("state", self.actual.state) != self.actual.state:
            changes["since_ns"] = time.time_ns()
            self._changed_at = time.monotonic()
        if "error" in changes and changes["error"] is None:
            changes["error"] = self.refused
        self.actual = msgspec.structs.replace(self.actual, restarts=self.reconnects, **changes)
        self._reporter.report(self._stream, self.actual)

    def seconds(self, now: float) -> float:
        """For how long the state has been what it is; `now` is in monotonic seconds."""
        return now - self._changed_at

"""What comes all the time while a mesh is well, each with the longest pause that is none."""

import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, NamedTuple

_KEPT_GAPS: Final = 64  # of a flow; a disturbance makes a few


class Flow:
    """Arrivals of one kind, on the monotonic clock; only its gaps are kept."""

    def __init__(self, gap_seconds: float, slowness: float = 1.0) -> None:
        """`gap_seconds`: a longer time without an arrival is a gap. `slowness`: a machine so much slower has such gaps
        while it is well; they count in what a disturbance cost, and are no reason to wait for calm."""
        self.gap_seconds = gap_seconds
        self.patience_seconds = gap_seconds * slowness
        self.count = 0
        self._last = 0.0
        self._gaps: deque[tuple[float, float]] = deque(maxlen=_KEPT_GAPS)

    def arrive(self) -> None:
        now = time.monotonic()
        if self.count and now - self._last > self.gap_seconds:
            self._gaps.append((self._last, now))
        self._last = now
        self.count += 1

    def told(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "last": self._last,
            "patience_seconds": self.patience_seconds,
            "gaps": list(self._gaps),
        }


class Back(NamedTuple):
    """A flow after a disturbance."""

    seconds: float
    """From its end to the first arrival after the last gap; 0: there was none."""
    flow: str


def back(name: str, told: dict[str, Any], since: float, now: float, steady_seconds: float) -> Back | None:
    """When a flow was whole again after `since`, once it has been so for `steady_seconds`; None: not yet."""
    patience_seconds = told["patience_seconds"]
    if told["last"] <= since or now - told["last"] > patience_seconds:
        return None
    gaps = [(begin, end) for begin, end in told["gaps"] if end > since]
    if now - max((end for begin, end in gaps if end - begin > patience_seconds), default=since) < steady_seconds:
        return None
    return Back(max((end for _, end in gaps), default=since) - since, name)


def write_seen(path: Path, seen: dict[str, Any]) -> None:
    """At once as a whole, for readers that come at any moment."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(seen))
    os.replace(fresh, path)


def read_seen(path: Path) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(path.read_text())
    return seen

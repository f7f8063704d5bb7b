"""What a container costs, from Docker's counters."""

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple


class ContainerFigures(NamedTuple):
    cpu_percent: float
    """Of one core, since the look before, or since its start."""
    rss_bytes: int
    """Memory in use, without files that could be dropped at any time."""


class ContainerWatch:
    """Remembers the counters of the look before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}

    def look(self, container: str, stats: dict[str, Any], started_ns: int) -> ContainerFigures:
        """`stats`: one shot of Docker's."""
        spent_ns = int((stats.get("cpu_stats") or {}).get("cpu_usage", {}).get("total_usage", 0))
        now_ns = time.time_ns()
        before_ns, before_spent_ns = self._before.get(container, (started_ns, 0))
        if before_spent_ns > spent_ns:  # it has been started again
            before_ns, before_spent_ns = started_ns, 0
        self._before[container] = now_ns, spent_ns
        elapsed_ns = now_ns - before_ns
        percent = 100 * (spent_ns - before_spent_ns) / elapsed_ns if elapsed_ns > 0 else 0.0
        memory = stats.get("memory_stats") or {}
        detail = memory.get("stats") or {}
        # Of cgroups 2 and 1.
        droppable = detail.get("inactive_file", detail.get("total_inactive_file", 0))
        return ContainerFigures(round(percent, 1), max(0, int(memory.get("usage", 0)) - int(droppable)))

    def keep_only(self, containers: Iterable[str]) -> None:
        known = set(containers)
        self._before = {container: seen for container, seen in self._before.items() if container in known}


def time_ns(text: str) -> int:
    """Docker's time, RFC 3339 with nine digits, as CLOCK_REALTIME; 0: it is none, or long ago."""
    moment, _, fraction = text.removesuffix("Z").partition(".")
    try:
        seconds = int(datetime.fromisoformat(f"{moment}+00:00").timestamp())
    except ValueError:
        return 0
    digits = fraction[:9].ljust(9, "0")
    return max(0, seconds * 10**9 + int(digits)) if digits.isascii() and digits.isdigit() else 0

"""What a process and its children cost: processor time and memory, read from Linux's /proc."""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_MOST_PROCESSES: Final = 256  # of a service: an encoder's process for each rendition, an ffmpeg for each SRT source
# Fields of /proc/<pid>/stat behind the name, see proc(5): 14 utime, 15 stime, 24 rss.
_UTIME, _STIME, _RSS = 14 - 3, 15 - 3, 24 - 3


class ProcessFigures(NamedTuple):
    """Of a process and of its children."""

    cpu_percent: float
    """Of one core, since the look before; 100 is one core busy all the time."""
    rss_bytes: int
    """Memory in use; what processes share counts in each."""


class ProcessWatch:
    """Looks at a process, this one when none is named; the first look has no time before it."""

    def __init__(self, pid: int = 0) -> None:
        self._pid = pid or os.getpid()
        self._before: dict[int, int] = {}
        self._before_s = time.monotonic()
        self._ticks = 0
        self.rss_bytes = 0
        """At the last look."""
        self.look()

    @property
    def cpu_seconds(self) -> float:
        """Until the last look; of children that had ended by then, until the look before."""
        return self._ticks / _TICKS_PER_SECOND

    def look(self) -> ProcessFigures:
        """Takes a fraction of a millisecond for each process."""
        ticks: dict[int, int] = {}
        rss_bytes = 0
        for pid in _family(self._pid):
            if (found := _read(pid)) is not None:
                ticks[pid], rss = found
                rss_bytes += rss
        now_s = time.monotonic()
        spent = sum(count - self._before.get(pid, 0) for pid, count in ticks.items())
        elapsed_s = now_s - self._before_s
        self._before, self._before_s = ticks, now_s
        self._ticks += max(0, spent)
        self.rss_bytes = rss_bytes
        percent = 100 * spent / _TICKS_PER_SECOND / elapsed_s if elapsed_s > 0 else 0.0
        return ProcessFigures(round(percent, 1), rss_bytes)


def _family(pid: int) -> list[int]:
    """A process and those below it."""
    found = [pid]
    for one in found:  # grows while it is walked
        if len(found) >= _MOST_PROCESSES:
            break
        found += _children(one)
    return found[:_MOST_PROCESSES]


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        # Of each thread those that it started.
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended meanwhile, or this kernel does not tell
        return []


def _read(pid: int) -> tuple[int, int] | None:
    """Ticks of processor time and bytes of memory; None: it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return int(fields[_UTIME]) + int(fields[_STIME]), int(fields[_RSS]) * _PAGE_BYTES

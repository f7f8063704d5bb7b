"""Files that a crash ended, and the one that goes on: no picture stays in two of them.

A file begins with a key picture, so the one that goes on after a crash repeats what its predecessor has from that
picture on. When it safely has all that, the predecessor is cut there. Until then both stay: a second crash in between
loses nothing.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from schemas.packets import PacketHeader
from services.publisher.repair import cut_before
from shared.recording_index import BadIndex, index_path, read_index, read_summary

_log = logging.getLogger(__name__)


class _Ends(NamedTuple):
    """Run and index of the first and the last picture of a file."""

    run: int
    first: int
    last: int


class Overlaps:
    """What is to be cut of the files that crashes ended. Belongs to the output's thread; blocks while it cuts."""

    def __init__(self) -> None:
        self.left: list[Path] = []
        """Closed by a crash, perhaps still to be cut, the oldest first."""
        self._ends: list[tuple[Path, _Ends]] = []
        self._covered_at = 0
        self._run = self._first = 0

    def begin(self, first: PacketHeader) -> bool:
        """A file begins with this picture; False when none of `left` has it or a later one."""
        self._run, self._first, self._ends = first.run, first.index, []
        for file in self.left:
            ends = _ends(file)
            if ends is not None and ends.run == first.run and ends.last >= first.index:
                self._ends.append((file, ends))
        self._covered_at = max((ends.last for _, ends in self._ends), default=0)
        return bool(self._ends)

    def settled(self, last: PacketHeader) -> bool:
        """The new file safely has this picture; True when the others may be cut by now."""
        return bool(self._ends) and (last.run != self._run or last.index >= self._covered_at)

    def cut(self) -> list[Path]:
        """Cut each file where its successor begins; those of which nothing is left, to be deleted."""
        firsts = [ends.first for _, ends in self._ends[1:]] + [self._first]
        empty = []
        for (file, _), first in zip(self._ends, firsts, strict=True):
            try:
                kept = cut_before(file, self._run, first)
            except (OSError, BadIndex) as error:
                _log.warning("%s keeps pictures that the next file repeats: %s", file, error)
                continue
            if kept is None:
                _log.info("%s keeps pictures that the next file repeats: it cannot be cut there", file)
            elif kept == 0:
                empty.append(file)
        self.forget()
        return empty

    def forget(self) -> None:
        """Nothing is to be cut any more."""
        self._ends, self.left = [], []


def _ends(file: Path) -> _Ends | None:
    try:
        pictures = read_summary(index_path(file)).pictures
        if not pictures:
            return None
        first = read_index(index_path(file), 0, 1).records[0]
        last = read_index(index_path(file), pictures - 1, 1).records[0]
    except (OSError, BadIndex, IndexError):
        return None
    # One run from its first to its last picture, or it is not the one that the new file goes on from.
    return _Ends(int(last["run"]), int(first["index"]) if first["run"] == last["run"] else 0, int(last["index"]))

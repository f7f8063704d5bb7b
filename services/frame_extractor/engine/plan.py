"""Which packets the decoder is fed for the pictures that are wanted, and in which parts that can be done at once."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from services.frame_extractor.engine.index import Index
from services.frame_extractor.engine.targets import Moment

# For each thread: few enough that a thread mostly reads on where it is, enough that none waits long for the last.
_SHARES_PER_THREAD = 4


@dataclass
class Run:
    """Packets that are decoded in one go, from where decoding can begin."""

    first: int
    last: int
    """With it: by then every wanted picture is in the decoder."""
    wanted: dict[int, list[Moment]] = field(default_factory=dict)
    """By the time, or the number, that the picture has."""
    cost: int = 0
    """Bytes that are decoded: what takes the time."""


@dataclass
class Share:
    """Runs for one thread, in the order of the file."""

    runs: list[Run]
    decoder_threads: int = 1

    @property
    def cost(self) -> int:
        return sum(run.cost for run in self.runs)


def plan_runs(index: Index, moments: list[Moment], back: int = 0) -> list[Run]:
    """The runs that make all of the moments' pictures, in the order of the file.

    Args:
        back: places where decoding can begin to go back behind the nearest: where that one is broken.
    """
    if index.numbered:
        wanted: dict[int, list[Moment]] = defaultdict(list)
        for moment in moments:
            wanted[moment.picture].append(moment)
        last = len(index.pts) - 1
        return [Run(0, last, dict(wanted), int(index.size.sum()))] if wanted else []
    entries = np.flatnonzero(index.entry)
    by_entry: dict[int, list[tuple[int, Moment]]] = defaultdict(list)
    for moment in moments:
        packet = int(index.picture_packet[moment.picture])
        place = int(np.searchsorted(entries, packet, "right")) - 1
        # What is shown before the key picture that it comes after is made from what was before that.
        while place > 0 and index.pts[entries[place]] > index.pts[packet]:
            place -= 1
        by_entry[int(entries[max(0, place - back)])].append((packet, moment))
    runs: list[Run] = []
    for first in sorted(by_entry):
        if runs and runs[-1].last >= first:
            run = runs[-1]
        else:
            run = Run(first, first)
            runs.append(run)
        for packet, moment in by_entry[first]:
            run.last = max(run.last, packet)
            run.wanted.setdefault(int(index.pts[packet]), []).append(moment)
    for run in runs:
        run.cost = _cost(index, run)
    return runs


def is_fed(index: Index, run: Run, packet: int) -> bool:
    """Whether the decoder gets this packet of the run."""
    return index.careful or not index.disposable[packet] or int(index.pts[packet]) in run.wanted


def shares(runs: list[Run], threads: int) -> list[Share]:
    """Parts of about the same cost, for threads that take one after the other."""
    if not runs:
        return []
    if len(runs) < _SHARES_PER_THREAD * threads:
        parts = [Share([run]) for run in runs]
        # What is left when every thread had as many as the others is done by all of them together.
        left = len(parts) % threads
        for part in parts[len(parts) - left :]:
            part.decoder_threads = max(1, threads // left)
        return parts
    goal = sum(run.cost for run in runs) / (_SHARES_PER_THREAD * threads)
    parts = [Share([])]
    filled = 0.0
    for run in runs:
        if parts[-1].runs and filled + run.cost / 2 > goal * len(parts):
            parts.append(Share([]))
        parts[-1].runs.append(run)
        filled += run.cost
    return parts


def _cost(index: Index, run: Run) -> int:
    part = slice(run.first, run.last + 1)
    size = index.size[part]
    if index.careful:
        return int(size.sum())
    fed = ~index.disposable[part] | np.isin(index.pts[part], np.fromiter(run.wanted, np.int64, len(run.wanted)))
    return int(size[fed].sum())

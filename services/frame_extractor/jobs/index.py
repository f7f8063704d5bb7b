"""Which jobs there are, the newest first: of each only what it is looked for by, so that a hundred thousand fit.

A row is 42 bytes of key and one number: 22 MB for a hundred thousand of them, where whole jobs took 180. The bucket's
own size bounds how many there are.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from typing import get_args

from msgspec import Struct

from schemas.extraction import JobState

_STATES: tuple[JobState, ...] = get_args(JobState)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}
_STATE_BITS, _TIME_BITS = 3, 40  # seconds since 1970, for the next thirty thousand years
_TIME_BYTES = 8  # of nanoseconds, so that keys sort by time


class Row(Struct, frozen=True):
    """What is read of a job's record, and no more: the rest is passed over."""

    id: str
    state: JobState
    owner: str
    submitted_ns: int


class JobIndex:
    """Not more than is told of: what the bus forgets by age is forgotten here by the same age."""

    def __init__(self, life_seconds: float) -> None:
        self._life_seconds = life_seconds
        self._sorted: list[bytes] = []
        """Keys: when a job was submitted, then its id."""
        self._rows: dict[bytes, int] = {}
        """Owner, time of the last write and state of each, in the order of the last write."""
        self._owners: dict[str, int] = {}
        self.states: Counter[JobState] = Counter()
        """How many jobs are in each; may be read from other threads."""

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, row: Row, written_s: float) -> None:
        """A job is so now."""
        key = _key(row.submitted_ns, row.id)
        before = self._rows.pop(key, None)  # put again at the end: the order of the last write
        if before is None:
            insort(self._sorted, key)
        else:
            self.states[_state(before)] -= 1
        owner = self._owners.setdefault(row.owner, len(self._owners))
        number = _NUMBERS[row.state]
        self._rows[key] = (owner << _TIME_BITS | int(written_s)) << _STATE_BITS | number
        self.states[row.state] += 1

    def remove(self, job: str) -> None:
        """It was taken out of the bucket, which nothing of ours does: looked for among all."""
        tail = job.encode()
        for key in [key for key in self._rows if key[_TIME_BYTES:] == tail]:
            self._drop(key)

    def forget_old(self, now_s: float) -> None:
        """Those whose last write is so long ago that the bus has none of them any more."""
        oldest_s = now_s - self._life_seconds
        while self._rows:
            key = next(iter(self._rows))
            if _written_s(self._rows[key]) >= oldest_s:
                return
            self._drop(key)

    def clear(self) -> None:
        self._sorted.clear()
        self._rows.clear()
        self._owners.clear()
        self.states.clear()

    def newest(self, owner: str | None, state: JobState | None, before: tuple[int, str] | None) -> Iterator[str]:
        """Ids of the jobs that are wanted, the newest first; do not let others write meanwhile.

        Args:
            before: only those that came before the job of this time of submission and id.
        """
        number = None if owner is None else self._owners.get(owner, -1)
        end = len(self._sorted) if before is None else bisect_left(self._sorted, _key(*before))
        for place in range(end - 1, -1, -1):
            key = self._sorted[place]
            packed = self._rows[key]
            if number is not None and packed >> _TIME_BITS + _STATE_BITS != number:
                continue
            if state is None or _state(packed) == state:
                yield key[_TIME_BYTES:].decode()

    def _drop(self, key: bytes) -> None:
        self.states[_state(self._rows.pop(key))] -= 1
        del self._sorted[bisect_left(self._sorted, key)]


def _key(submitted_ns: int, job: str) -> bytes:
    return submitted_ns.to_bytes(_TIME_BYTES, "big") + job.encode()


def _state(packed: int) -> JobState:
    return _STATES[packed & (1 << _STATE_BITS) - 1]


def _written_s(packed: int) -> int:
    return packed >> _STATE_BITS & (1 << _TIME_BITS) - 1

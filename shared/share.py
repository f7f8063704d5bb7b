"""The part of a node's work that one of several instances of a service does.

Whose a resource is the kernel decides: before an instance runs one, it takes the lock of its group (a stream, with all
that is made of it), and gives it back when the last of it has ended. So nothing runs twice, whoever believes what. How
many groups each may have follows from who is there: an equal part, and where that leaves some over, one more for those
who hold one of as many extra locks. An instance that has too many gives some up; one that has too few takes what nobody
has. Nobody is asked, nothing is written: who dies loses its locks with its life.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from hashlib import blake2b
from typing import Final

from shared.kernel_locks import is_write_locked, unlock, write_lock
from shared.place import MOST_PLACES, Place

# Bytes of the lock file behind the places: who takes work, who leads, and one for each group.
_MEMBERS: Final = MOST_PLACES
_LEADER: Final = 2 * MOST_PLACES
_GROUPS: Final = 1 << 20
_DIGEST_BYTES: Final = 7  # offsets are 63 bits; that two of 10,000 groups share a byte has a chance of 1 in 10^9
LOOK_SECONDS: Final = 0.25  # the kernel tells nobody of a lock that is free again; a look costs 64 system calls
# An instance that was killed is back within a second, a container within two. Its groups wait so long for it: to move
# them twice would interrupt them twice.
_AWAY_SECONDS: Final = 2.0


class Share:
    """Who shares the work, and whether this instance leads. One per process; belongs to the event loop."""

    def __init__(self, place: Place, now: Callable[[], float] = time.monotonic) -> None:
        self._place, self._now = place, now
        self._seen_seconds: dict[int, float] = {}
        self._portions: list[Portion] = []
        self._joined = False
        self._leads = False
        self.complete = True
        """At the last look no member was away."""
        self._on_lead: list[Callable[[], object]] = []

    @property
    def number(self) -> int:
        return self._place.number

    def portion(self, kind: str, changed: Callable[[], None]) -> "Portion":
        """This instance's part of one kind of resource. `changed` is called when it may be another now."""
        portion = Portion(self, self._place, kind, changed)
        self._portions.append(portion)
        return portion

    def leads(self) -> bool:
        """Whether this instance does what only one of them shall do; it does from now on if nobody else does."""
        self._leads = self._leads or self._place.file.try_lock(write_lock(_LEADER))
        return self._leads

    def on_lead(self, call: Callable[[], object]) -> None:
        """Call it once this instance leads, where another does now."""
        self._on_lead.append(call)

    def join(self) -> None:
        """From now on the others count with this instance."""
        if not self._joined:
            self._joined = self._place.file.try_lock(write_lock(_MEMBERS + self.number - 1))

    def members(self) -> list[int]:
        """Numbers of those who share the work, this one among them, and those that were there a moment ago."""
        now = self._now()
        for number in range(1, self._place.most + 1):
            if number == self.number or is_write_locked(self._place.file.fd, _MEMBERS + number - 1):
                self._seen_seconds[number] = now
        there = sorted(n for n, seen in self._seen_seconds.items() if now - seen <= _AWAY_SECONDS)
        self.complete = all(self._seen_seconds[number] == now for number in there)
        return there

    def look(self) -> None:
        """Take the lead if nobody has it, and have the portions looked at that may be others now."""
        if self._on_lead and self.leads():
            calls, self._on_lead = self._on_lead, []
            for call in calls:
                call()
        members = self.members()
        for portion in self._portions:
            portion.look(members)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()


class Portion:
    """The groups of one kind that this instance has."""

    def __init__(self, share: Share, place: Place, kind: str, changed: Callable[[], None]) -> None:
        self._share, self._place, self._kind, self._changed = share, place, kind, changed
        self._held: dict[str, None] = {}
        """Those whose lock this instance has, also while they end; those that it has longest first."""
        self._groups: frozenset[str] = frozenset()
        self._members: list[int] = []
        self._most = 0
        """What this instance may have at most."""
        self._extra: int | None = None
        """The extra lock that it holds."""
        self._chosen: frozenset[str] = frozenset()

    def choose(self, groups: Collection[str]) -> frozenset[str]:
        """Those of a node's groups that this instance shall run now; it has their locks."""
        self._share.join()
        self._groups, self._members = frozenset(groups), self._share.members()
        each, over = divmod(len(self._groups), len(self._members))
        self._most = each + (over > 0)
        if self._extra is not None and self._extra >= over:
            self._give_back_extra()
        # What was taken last is given up first: it was another's, who is back.
        mine = [group for group in self._held if group in self._groups]
        if len(mine) > each:
            mine = mine[: each + self._take_extra(over)]
        for group in sorted(self._groups - self._held.keys()):
            # Not one more while somebody is away, who may have had it.
            if len(mine) >= (self._most if self._share.complete else each):
                break
            if not self._place.file.try_lock(write_lock(self._offset(group))):
                continue
            if len(mine) == each and not self._take_extra(over):
                self._place.file.unlock(unlock(self._offset(group)))
                break
            self._held[group] = None
            mine.append(group)
        if len(mine) <= each:
            self._give_back_extra()
        self._chosen = frozenset(mine)
        return self._chosen

    def release(self, group: str) -> None:
        """Nothing of the group runs here any more; nothing where another has it."""
        if group in self._held:
            del self._held[group]
            self._place.file.unlock(unlock(self._offset(group)))

    def elsewhere(self, group: str) -> bool:
        """Whether another instance has it."""
        return group not in self._held and is_write_locked(self._place.file.fd, self._offset(group))

    def look(self, members: list[int]) -> None:
        if not self._members:  # nobody has asked for its groups yet
            return
        if members != self._members or (len(self._chosen) < self._most and self._something_is_free()):
            self._changed()

    def _something_is_free(self) -> bool:
        return any(not self.elsewhere(group) for group in self._groups - self._chosen)

    def _take_extra(self, over: int) -> bool:
        """Whether this instance may have one more than an equal part."""
        if self._extra is None:
            locks = (number for number in range(over) if self._place.file.try_lock(write_lock(self._extra_at(number))))
            self._extra = next(locks, None)
        return self._extra is not None

    def _give_back_extra(self) -> None:
        if self._extra is not None:
            self._place.file.unlock(unlock(self._extra_at(self._extra)))
            self._extra = None

    def _extra_at(self, number: int) -> int:
        return self._offset(f"/{number}")  # no group is called so

    def _offset(self, group: str) -> int:
        digest = blake2b(f"{self._kind}.{group}".encode(), digest_size=_DIGEST_BYTES).digest()
        return _GROUPS + int.from_bytes(digest)

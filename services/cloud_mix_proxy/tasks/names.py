"""Names of tasks, on the bus: whose each is, from before anything else of a task is there until it is done."""

import contextlib
import hashlib
import time
from typing import Final

import msgspec

from schemas.errors import Conflict
from schemas.mix_tasks import LIVE_STATUSES, NameHolder, TaskRecord
from schemas.subjects import mix_task_key, mix_task_name_key
from schemas.units import NS_PER_SECOND
from services.cloud_mix_proxy.tasks.full_rules import forget_task
from shared.bus import Bucket

_CAS_ATTEMPTS: Final = 8
_CREATION_SECONDS: Final = 30.0  # from a name to its record; whoever took longer has died between the two
_UNMADE_SECONDS: Final = 900.0  # by any clock of the mesh such a creation is over
_DIGEST_DIGITS: Final = 40
_ALL: Final = mix_task_name_key("x", "x").replace("x", "*")


class Names:
    """In the bucket of the records. A name leads to what a creation that died has left."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def take(self, owner: str, name: str, task: str) -> int:
        """The revision that says that the name is the task's.

        Raises:
            Conflict: a task of its owner that is in progress has it.
            Unavailable: the bus did not take it in time; it may have been taken.
        """
        key = _key(owner, name)
        for _ in range(_CAS_ATTEMPTS):
            entry = await self._bucket.get(key)
            holder = msgspec.json.decode(entry.value, type=NameHolder) if entry else None
            record = await self._record(holder.task) if holder else None
            if record is not None and record.status in LIVE_STATUSES:
                break
            if holder and record is None and time.time_ns() - holder.at_ns < _CREATION_SECONDS * NS_PER_SECOND:
                break
            with contextlib.suppress(Conflict):
                revision = await self._bucket.update(key, _holder(task), entry.revision if entry else 0)
                if holder and record is None:  # after the name: whoever is alive after all finds it taken
                    await forget_task(self._bucket.bus, holder.task)
                return revision
        raise _taken(name)

    async def confirm(self, owner: str, name: str, task: str, revision: int) -> None:
        """Take it once more where it is still as it was taken.

        Raises:
            Conflict: another task has it by now.
            Unavailable: the bus did not take it in time; it may have been taken.
        """
        try:
            await self._bucket.update(_key(owner, name), _holder(task), revision)
        except Conflict:
            raise _taken(name) from None

    async def free(self, owner: str, name: str, task: str) -> None:
        """The name may be had again; nothing where another task has it already.

        Raises:
            Unavailable: the bus did not take it in time.
        """
        entry = await self._bucket.get(_key(owner, name))
        if entry and msgspec.json.decode(entry.value, type=NameHolder).task == task:
            with contextlib.suppress(Conflict):  # taken over since
                await self._bucket.purge(entry.key, entry.revision)

    async def sweep(self, now_ns: int) -> None:
        """Free the names of tasks that were never made, and forget what was kept for those; `now_ns` of CLOCK_REALTIME.

        Raises:
            Unavailable: the bus does not answer.
        """
        for entry in (await self._bucket.entries(_ALL)).values():
            holder = msgspec.json.decode(entry.value, type=NameHolder)
            if now_ns - holder.at_ns > _UNMADE_SECONDS * NS_PER_SECOND and await self._record(holder.task) is None:
                with contextlib.suppress(Conflict):  # taken by another, who forgets it too
                    await self._bucket.purge(entry.key, entry.revision)
                    await forget_task(self._bucket.bus, holder.task)

    async def _record(self, task: str) -> TaskRecord | None:
        entry = await self._bucket.get(mix_task_key(task))
        return msgspec.json.decode(entry.value, type=TaskRecord) if entry else None


def _key(owner: str, name: str) -> str:
    # Digests: keys of the bus may not have every character, and not everybody who reads them may know the names.
    parts = (hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS] for text in (owner, name))
    return mix_task_name_key(*parts)


def _holder(task: str) -> bytes:
    return msgspec.json.encode(NameHolder(task, time.time_ns()))


def _taken(name: str) -> Conflict:
    return Conflict(f"Name {name!r}: a task of this name is in progress; end it first, or choose another")

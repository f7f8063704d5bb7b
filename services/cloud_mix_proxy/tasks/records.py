"""What is known of every task, on the bus: written by compare-and-set only."""

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from schemas.errors import Conflict, NotFound, Unavailable
from schemas.mix_tasks import LIVE_STATUSES, CallbackState, TaskRecord
from schemas.subjects import MIX_TASKS_BUCKET, mix_callback_key, mix_task_key
from services.cloud_mix_proxy.tasks.names import Names
from services.cloud_mix_proxy.tasks.plan import mix_of
from shared.bus import Bucket, Bus, Entry, Mirror
from shared.state import read_entry

log = logging.getLogger(__name__)

_CAS_ATTEMPTS: Final = 8
_HUB_SECONDS: Final = 3.0  # until a hub is taken for away, whose leaf goes on without tasks
_OWN_WRITE_SECONDS: Final = 2.0  # until what was written is in this copy; the bus answers in milliseconds
_RECORDS: Final = mix_task_key("x").replace("x", "*")
_decoder: Final = msgspec.json.Decoder(TaskRecord)


class Known(NamedTuple):
    record: TaskRecord
    revision: int


class Records:
    """The records, with a copy of all of them that follows every change."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self.names = bucket, Names(bucket)
        self._listeners: list[Callable[[], None]] = []
        self._decoded: dict[str, Known] = {}
        self._mirror = Mirror(bucket, _RECORDS, self._changed)

    @classmethod
    async def open(cls, bus: Bus) -> "Records":
        """A host that is cut off from its hub knows the tasks when it is back; nobody else begins without them.

        Raises:
            Unavailable: the bus does not answer.
        """
        records = cls(await bus.bucket(MIX_TASKS_BUCKET))
        try:
            await records._synced(is_leaf=bus.leaf_of is not None)
        except BaseException:  # also of who gave up waiting: nobody else would end its task and watch
            await records.close()
            raise
        return records

    async def _synced(self, *, is_leaf: bool) -> None:
        if not is_leaf:
            await self._mirror.synced()
            return
        try:
            await self._mirror.synced(_HUB_SECONDS)
        except Unavailable:
            log.warning("the hub, which keeps the tasks, is away: the mixes of this host go on without them")

    async def close(self) -> None:
        await self._mirror.close()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after every change of any record."""
        self._listeners.append(listener)

    def all(self) -> list[Known]:
        """As this copy has them, the newest first.

        Raises:
            Unavailable: they are not known yet, as their hub is away.
        """
        self._check_known()
        return sorted(self._decoded.values(), key=lambda one: (-one.record.created_ns, one.record.task))

    def live(self) -> list[TaskRecord]:
        """Those that are not done.

        Raises:
            Unavailable: they are not known yet, as their hub is away.
        """
        self._check_known()
        return [known.record for known in self._decoded.values() if known.record.status in LIVE_STATUSES]

    def unfinished(self) -> list[TaskRecord]:
        """Those that somebody has to see to: not done, with notices that are not in the queue, or left in a cloud."""
        return [
            known.record
            for known in self._decoded.values()
            if known.record.status in LIVE_STATUSES or known.record.untold or known.record.cloud_left
        ]

    def has_mix(self, mix: str) -> bool:
        """Whether it is that of a task that is not done, as this copy knows.

        Raises:
            Unavailable: they are not known yet, as their hub is away.
        """
        return any(mix_of(record.task) == mix for record in self.live())

    def _check_known(self) -> None:
        if not self._mirror.is_synced:
            raise Unavailable(
                "this host is cut off from its hub, which keeps the tasks; try again when it is back, or there"
            )

    async def get(self, task: str) -> Known | None:
        """The record as it is now, from the bus.

        Raises:
            Unavailable: the bus does not answer.
        """
        entry = await self._bucket.get(mix_task_key(task))
        return Known(_decoder.decode(entry.value), entry.revision) if entry else None

    async def create(self, record: TaskRecord, name_revision: int) -> None:
        """Write a record that is new, under the name that was taken for it.

        Raises:
            Conflict: another task has the name by now.
            Unavailable: the bus did not take it in time; it may have been written.
        """
        revision = await self._bucket.update(mix_task_key(record.task), msgspec.json.encode(record), 0)
        try:
            # Once more, now that the record is there: whoever holds it for dead, by another clock, was not faster.
            await self.names.confirm(record.owner, record.name, record.task, name_revision)
        except Conflict:
            await self._withdraw(record, revision)
            raise
        await self._mirror.wait_for(
            lambda entries: _at_least(entries.get(mix_task_key(record.task)), revision), _OWN_WRITE_SECONDS
        )

    async def change(self, task: str, change: Callable[[TaskRecord], TaskRecord]) -> TaskRecord:
        """Write what `change` makes of the record; nothing where it makes the same of it.

        Raises:
            NotFound: there is none.
            Unavailable: the bus did not take it in time, or others change it all the time.
            MeshError: what `change` raises.
        """
        for _ in range(_CAS_ATTEMPTS):
            known = await self.get(task)
            if known is None:
                raise NotFound(f"task {task!r} does not exist")
            changed = change(known.record)
            if changed == known.record:
                return changed
            try:
                await self._bucket.update(mix_task_key(task), msgspec.json.encode(changed), known.revision)
            except Conflict:
                continue
            return changed
        raise Unavailable(f"task {task} is being changed by others all the time; try again")

    async def forget(self, known: Known) -> None:
        """Remove a task that is done, and how its notices have fared.

        Raises:
            Unavailable: the bus did not take it in time.
        """
        try:
            await self._bucket.purge(mix_task_key(known.record.task), known.revision)
        except Conflict:  # another instance was first
            return
        await self._bucket.purge(mix_callback_key(known.record.task))

    async def callbacks(self, task: str) -> CallbackState:
        """Raises:
        Unavailable: the bus does not answer.
        """
        entry = await self._bucket.get(mix_callback_key(task))
        return msgspec.json.decode(entry.value, type=CallbackState) if entry else CallbackState()

    async def count_callback(self, task: str, change: Callable[[CallbackState], CallbackState]) -> None:
        """Raises:
        Unavailable: the bus did not take it in time.
        """
        for _ in range(_CAS_ATTEMPTS):
            entry = await self._bucket.get(mix_callback_key(task))
            state = msgspec.json.decode(entry.value, type=CallbackState) if entry else CallbackState()
            try:
                data = msgspec.json.encode(change(state))
                await self._bucket.update(mix_callback_key(task), data, entry.revision if entry else 0)
            except Conflict:
                continue
            return

    async def _withdraw(self, record: TaskRecord, revision: int) -> None:
        """Another task has its name: it must not go on."""
        try:
            await self._bucket.purge(mix_task_key(record.task), revision)
        except Conflict:  # somebody is at it already
            await self.change(record.task, lambda one: replace(one, stopping=True))

    def _changed(self, key: str, entry: Entry | None) -> None:
        task = key.rpartition(".")[2]
        record = read_entry(entry, TaskRecord)
        if entry is None or record is None:
            self._decoded.pop(task, None)
        else:
            self._decoded[task] = Known(record, entry.revision)
        for listener in self._listeners:
            listener()


def _at_least(entry: Entry | None, revision: int) -> bool:
    return entry is not None and entry.revision >= revision

"""Keeps tasks going: what the records say is made so, on whichever node holds each, again after every crash."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas.errors import ErrorInfo, MeshError, NotFound
from schemas.mix_tasks import LIVE_STATUSES, CallbackItem, TaskPlace, TaskRecord
from schemas.trace import read_traceparent
from schemas.units import NS_PER_SECOND
from services.cloud_mix_proxy.tasks import full_rules
from services.cloud_mix_proxy.tasks.changes import told, with_seen, with_status
from services.cloud_mix_proxy.tasks.full_rules import FullRules
from services.cloud_mix_proxy.tasks.leases import Leases
from services.cloud_mix_proxy.tasks.place import Place, Refused
from services.cloud_mix_proxy.tasks.records import Records
from services.cloud_mix_proxy.tasks.remains import GIVE_UP_SECONDS, Remains
from shared.bus import Bus, WorkQueue
from shared.cause import Cause, begin, doing, nobody
from shared.service import Context
from shared.tasks import end_tasks, set_within

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
"""Between two looks at a task when nothing is heard of: leases are kept, limits of time are judged."""
_SETTLE_SECONDS: Final = 0.1  # changes come in bursts, and one look sees them all
_STEP_SECONDS: Final = 15.0  # what is asked of others answers within 10 s, or not at all


class Keeper:
    """One worker for each task that this node holds."""

    def __init__(
        self,
        context: Context[Any],
        records: Records,
        leases: Leases,
        places: Mapping[TaskPlace, Place],
        queue: WorkQueue,
        may_take: Callable[[TaskRecord], bool],
        *,
        task_hours: float,
        prepare_seconds: float,
        upstream_seconds: float,
        fallback: bool,
    ) -> None:
        self._bus: Bus = context.bus
        self._context, self._records, self._leases, self._places, self._queue = context, records, leases, places, queue
        self._may_take = may_take
        self._task_hours, self._prepare_seconds = task_hours, prepare_seconds
        self._upstream_seconds, self._fallback = upstream_seconds, fallback
        self._remains = Remains(context, records, places["cloud"])
        self._workers: dict[str, asyncio.Task[Any]] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._poke = asyncio.Event()
        self._full: dict[str, tuple[str, FullRules]] = {}
        self._begun: dict[str, float] = {}
        """When this node began with each task; of the monotonic clock."""
        records.on_change(self.changed)
        context.spawn(self._run(), "keep-tasks")

    def changed(self) -> None:
        """Something that tasks may depend on is another: look soon."""
        self._poke.set()
        for event in self._changed.values():
            event.set()

    @property
    def held(self) -> int:
        """Tasks that this node keeps going; may be read from other threads."""
        return len(self._workers)

    async def close(self) -> None:
        await end_tasks(*self._workers.values())

    async def _run(self) -> None:
        while True:
            # Here and not by the workers: one that waits for an answer keeps its task meanwhile.
            for task, worker in tuple(self._workers.items()):
                if not await self._leases.renew(task):
                    worker.cancel()
            for record in self._records.unfinished():
                if record.task in self._workers or not self._may_take(record):
                    continue
                if await self._leases.hold(record.task):
                    self._changed[record.task] = asyncio.Event()
                    work = self._keep(record.task)
                    self._workers[record.task] = self._context.spawn(work, f"task {record.task}")
            await asyncio.sleep(_SETTLE_SECONDS)
            self._poke.clear()
            await set_within(self._poke, _LOOK_SECONDS)

    async def _keep(self, task: str) -> None:
        """Until it is done, or another node has it."""
        changed = self._changed[task]
        self._begun[task] = time.monotonic()
        said, cause = "", None
        try:
            while self._leases.holds(task):
                changed.clear()
                record = None
                try:
                    async with asyncio.timeout(_STEP_SECONDS):
                        record, cause = await self._step_of(task, cause)
                except NotFound:  # somebody has removed the record
                    return
                except MeshError as error:
                    if said != (said := error.message):
                        log.info("task %s: %s; tried again", task, said)
                except TimeoutError:
                    log.warning("task %s: no answer within %g s; tried again", task, _STEP_SECONDS)
                except Exception:  # a bug that one task shows: the others go on
                    log.exception("task %s: look failed", task)
                if record is not None and record.cloud_left:
                    self._remains.see_to(record)
                elif record is not None and record.status == "done" and not record.untold:
                    await self._leases.release(task)
                    return
                await asyncio.sleep(_SETTLE_SECONDS)
                await set_within(changed, _LOOK_SECONDS)
        finally:
            self._workers.pop(task, None)
            self._changed.pop(task, None)
            self._full.pop(task, None)
            self._begun.pop(task, None)
            self._remains.leave(task)

    async def _step_of(self, task: str, cause: Cause | None) -> tuple[TaskRecord, Cause | None]:
        """One look at a task, as a part of the story of its newest change; `cause`: that of the look before.

        Raises:
            NotFound: there is no record of it.
            MeshError: it could not be done now.
        """
        known = await self._records.get(task)
        if known is None:
            raise NotFound(f"task {task!r} does not exist")
        parent = read_traceparent(known.record.traceparent)
        if parent is None:
            cause = None
        elif cause is None or (cause.trace_id, cause.parent_id) != parent:
            cause = begin(parent)
        with doing(cause) if cause else nobody():
            return await self._step(known.record), cause

    async def _step(self, record: TaskRecord) -> TaskRecord:
        """What follows from what is written of a task."""
        if record.status in LIVE_STATUSES:
            place = self._places[record.place]
            if record.stopping or record.status == "prestop":
                record = await self._take_away(record, place)
            else:
                record = await self._advance(record, place)
        return await self._tell(record)

    async def _advance(self, record: TaskRecord, place: Place) -> TaskRecord:
        if time.time_ns() - record.created_ns > self._task_hours * 3_600 * NS_PER_SECOND:
            error = ErrorInfo(code=408, message=f"a task lasts {self._task_hours:g} hours at most")
            return await self._end(record, error)
        if record.status == "pending" or record.node != self._context.node:
            node = self._context.node
            record = await self._change(record, lambda one: with_status(replace(one, node=node), _begun(one)))
        try:
            seen = await place.advance(record, await self._rules(record))
        except Refused as refusal:
            return await self._refused(record, refusal.error)
        except MeshError as error:  # it may have taken it, and its answer was lost
            if record.place == "cloud" and not record.cloud_task and self._tried(record) > self._upstream_seconds:
                return await self._refused(await self._change(record, _left), error.info)
            raise
        record = await self._change(record, lambda one: with_seen(one, seen))
        if seen.ended:
            return await self._end(record, seen.error or ErrorInfo(code=410, message="the mix has ended"))
        if record.status == "prepare" and self._tried(record) > self._prepare_seconds:
            message = f"it did not run within {self._prepare_seconds:g} s"
            return await self._end(record, seen.error or ErrorInfo(code=504, message=message))
        return record

    def _tried(self, record: TaskRecord) -> float:
        """Seconds that this node has tried to have a task run: those when nobody was there to try do not count."""
        return time.monotonic() - self._begun[record.task]

    async def _refused(self, record: TaskRecord, error: ErrorInfo) -> TaskRecord:
        if record.place == "cloud" and self._fallback and not record.cloud_task:
            log.warning("task %s: the cloud does not take it (%s); mixed here", record.task, error.message)
            self._begun[record.task] = time.monotonic()  # it has not been prepared here at all
            return await self._change(record, lambda one: replace(one, place="local", error=error))
        return await self._end(record, error)

    async def _end(self, record: TaskRecord, error: ErrorInfo) -> TaskRecord:
        return await self._change(
            record, lambda one: one if one.status == "done" else with_status(one, "prestop", error)
        )

    async def _take_away(self, record: TaskRecord, place: Place) -> TaskRecord:
        record = await self._change(record, lambda one: with_status(one, "prestop"))
        try:
            gone = await place.end(record)
        except MeshError as error:
            gone = self._given_up(record)
            if not gone:
                raise
            record = await self._change(record, _left)
            log.warning("task %s: %s; it has ended here", record.task, error)
        if not gone:
            return record
        # First: once it is done a task of its name may come, and must not lose it.
        await self._records.names.free(record.owner, record.name, record.task)
        return await self._change(record, lambda one: with_status(replace(one, stopping=True), "done"))

    def _given_up(self, record: TaskRecord) -> bool:
        """Whether a cloud that does not answer has been asked for long enough to end a task, whose name is wanted."""
        if record.place != "cloud":
            return False
        waited_seconds = (time.time_ns() - record.updated_ns) / NS_PER_SECOND
        return waited_seconds > (GIVE_UP_SECONDS if record.cloud_task else self._upstream_seconds)

    async def _tell(self, record: TaskRecord) -> TaskRecord:
        """Put what nobody was told of into the queue; what comes twice the queue takes once."""
        for notice in record.untold:
            item = CallbackItem(task=record.task, name=record.name, notice=notice)
            await self._queue.put(f"{record.task}-{notice.number}", msgspec.json.encode(item))
        if record.untold:
            last = record.untold[-1].number
            record = await self._change(record, lambda one: told(one, last))
        return record

    async def _change(self, record: TaskRecord, change: Callable[[TaskRecord], TaskRecord]) -> TaskRecord:
        if change(record) == record:
            return record
        before, after = record.status, await self._records.change(record.task, change)
        if after.status != before:
            self._context.event(f"task-{record.task}", "state", state=after.status, error=after.error)
            log.info("task %s: %s", record.task, after.status)
        return after

    async def _rules(self, record: TaskRecord) -> FullRules:
        cached = self._full.get(record.task)
        if not record.rules_secret:
            return FullRules(record.rules, record.callback_url)
        if cached is None or cached[0] != record.rules_secret:
            cached = self._full[record.task] = (record.rules_secret, await full_rules.unseal(self._bus, record))
        return cached[1]


def _left(record: TaskRecord) -> TaskRecord:
    return replace(record, cloud_left=True)


def _begun(record: TaskRecord) -> Any:
    return "prepare" if record.status == "pending" else record.status

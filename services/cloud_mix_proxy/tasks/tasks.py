"""What owners of keys may do with their tasks; the API's edge and the commands ask here."""

import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from schemas.cloud_mix import MixedRules
from schemas.errors import BadRequest, Conflict, InvalidValue, MeshError, NotFound, TooMany
from schemas.mix_tasks import LIVE_STATUSES, ListMixTasks, MixTaskEntry, MixTaskList, TaskPlace, TaskRecord
from services.cloud_mix_proxy.tasks import full_rules
from services.cloud_mix_proxy.tasks.changes import noticed
from services.cloud_mix_proxy.tasks.full_rules import FullRules
from services.cloud_mix_proxy.tasks.plan import Limits, plan
from services.cloud_mix_proxy.tasks.records import Records
from shared.bus import Bus
from shared.cause import traceparent
from shared.netguard import Policy, check_form

_TASK_BYTES: Final = 8
_MAX_LISTED: Final = 200  # a reply of the bus; the API has pages
_CALLBACKS: Final = Policy(schemes=frozenset(("http", "https")))


class Tasks:
    """Those of the whole mesh. A change is written down, and answered; `Keeper` makes it so."""

    def __init__(
        self,
        bus: Bus,
        node: str,
        records: Records,
        limits: Limits,
        place_of: Callable[[str], TaskPlace],
        *,
        max_tasks: int,
        max_tasks_per_key: int,
    ) -> None:
        self._bus, self._node, self._records, self._limits = bus, node, records, limits
        self._place_of = place_of
        self._max_tasks, self._max_tasks_per_key = max_tasks, max_tasks_per_key
        self._making: Counter[str] = Counter()
        """Tasks on their way into the records, by owner."""

    async def create(self, owner: str, name: str, rules: MixedRules, callback_url: str | None) -> str:
        """Make a task; its id, 16 lower-case hexadecimal digits.

        Raises:
            InvalidValue: names the API's field; the rules can never work.
            Conflict: a task of the owner has this name and is not done.
            TooMany: so many are in progress already.
            Unavailable: the bus did not take it in time; it may have been made.
        """
        self._check_room(owner)
        self._making[owner] += 1
        try:
            return await self._create(owner, name, rules, callback_url)
        finally:
            self._making[owner] -= 1
            self._making += Counter()  # without those that are 0

    async def _create(self, owner: str, name: str, rules: MixedRules, callback_url: str | None) -> str:
        task = secrets.token_hex(_TASK_BYTES)
        full = FullRules(_without_callback(rules), callback_url or "")
        self._check(task, full)
        # The name first: by it what a creation that dies has kept by then is found, and forgotten.
        name_revision = await self._records.names.take(owner, name, task)
        try:
            seen, reference = await full_rules.seal(self._bus, task, full)
        except MeshError:
            with contextlib.suppress(MeshError):  # whoever tries again finds it taken for half a minute
                await self._records.names.free(owner, name, task)
            raise
        now_ns = time.time_ns()
        record = TaskRecord(
            task=task,
            owner=owner,
            name=name,
            status="pending",
            rules=seen.rules,
            rules_secret=reference,
            callback_url=seen.callback_url,
            created_ns=now_ns,
            updated_ns=now_ns,
            node=self._node,
            place=self._place_of(name),
            traceparent=traceparent(),
        )
        try:
            await self._records.create(noticed(record), name_revision)
        except Conflict:
            await full_rules.forget(self._bus, record)
            raise
        return task

    async def update(self, owner: str, task: str, rules: MixedRules) -> int:
        """Change what is mixed, and where; the operation's number.

        Raises:
            InvalidValue: names the API's field; the rules can never work, or would change the output.
            NotFound: the owner has no such task.
            Conflict: it is ending, or done.
            Unavailable: the bus did not take it in time.
        """
        record = await self._find(owner, task)
        before = await full_rules.unseal(self._bus, record) if record.status in LIVE_STATUSES else None
        if before is None or record.stopping or record.status == "prestop":
            raise Conflict(f"TaskID {task!r}: the task is {record.status}; only a running one can be updated")
        full = FullRules(_without_callback(rules), before.callback_url)
        _check_output(before.rules, full.rules)
        self._check(task, full)
        seen, reference = await full_rules.seal(self._bus, task, full, record.rules_secret)

        def change(now: TaskRecord) -> TaskRecord:
            if now.stopping or now.status not in LIVE_STATUSES or now.status == "prestop":
                raise Conflict(f"TaskID {task!r}: the task is {now.status}; only a running one can be updated")
            return replace(
                now,
                rules=seen.rules,
                rules_secret=reference,
                last_operation=now.last_operation + 1,
                traceparent=traceparent(),
                operation_error=None,
                updated_ns=time.time_ns(),
            )

        return (await self._records.change(task, change)).last_operation

    async def delete(self, owner: str, task: str) -> None:
        """End a task; nothing where it is done already.

        Raises:
            NotFound: the owner has no such task.
            Unavailable: the bus did not take it in time.
        """
        await self._find(owner, task)

        def change(now: TaskRecord) -> TaskRecord:
            if now.stopping or now.status not in LIVE_STATUSES:
                return now
            return replace(now, stopping=True, updated_ns=time.time_ns(), traceparent=traceparent() or now.traceparent)

        await self._records.change(task, change)

    async def detail(self, owner: str, task: str) -> TaskRecord:
        """A task, with its rules as its owner gave them; of one that was done a while ago without secrets.

        Raises:
            NotFound: the owner has no such task.
            Unavailable: the bus does not answer.
        """
        record = await self._find(owner, task)
        try:
            full = await full_rules.unseal(self._bus, record)
        except NotFound:  # forgotten, as it is done
            return record
        return replace(record, rules=full.rules, callback_url=full.callback_url)

    async def list(self, owner: str, page: int, page_size: int) -> tuple[int, list[TaskRecord]]:
        """How many tasks the owner has, and those of a page (from 1), the newest first, without secrets.

        Raises:
            Unavailable: they are not known yet, as their hub is away.
        """
        mine = [known.record for known in self._records.all() if known.record.owner == owner]
        start = (max(page, 1) - 1) * page_size
        return len(mine), mine[start : start + page_size]

    async def show(self, request: ListMixTasks) -> MixTaskList:
        """Of all owners, for who operates the mesh; the newest of them, without secrets.

        Raises:
            Unavailable: the bus does not answer.
        """
        records = [known.record for known in self._records.all()]
        shown = [one for one in records if one.status in LIVE_STATUSES or not request.live][:_MAX_LISTED]
        return MixTaskList(
            tasks=tuple(
                [
                    MixTaskEntry(record=one, callbacks=await self._records.callbacks(one.task) if one.notices else None)
                    for one in shown
                ]
            )
        )

    async def _find(self, owner: str, task: str) -> TaskRecord:
        # A foreign one is as one that is not there: ids tell nothing to others.
        known = await self._records.get(task) if _is_task(task) else None
        if known is None or known.record.owner != owner:
            raise NotFound(f"TaskID {task[:64]!r}: there is no such task; ListCloudMixTask shows those there are")
        return known.record

    def _check(self, task: str, full: FullRules) -> None:
        try:
            plan(task, full.rules, self._node, self._limits)
        except InvalidValue:
            raise
        except ValueError as error:  # of a Struct of the mesh: said in its words
            raise BadRequest(f"MixedRules: {error}") from None
        if full.callback_url:
            check_form(full.callback_url, _CALLBACKS, "MixedRules.Output.Callback.Url")

    def _check_room(self, owner: str) -> None:
        live = self._records.live()
        there = len(live) + self._making.total()
        mine = sum(record.owner == owner for record in live) + self._making[owner]
        if there >= self._max_tasks or mine >= self._max_tasks_per_key:
            most = self._max_tasks if there >= self._max_tasks else self._max_tasks_per_key
            raise TooMany(f"{most} tasks are in progress; end one first, or allow more with max_tasks")


def _is_task(text: str) -> bool:
    return len(text) == 2 * _TASK_BYTES and all(letter in "0123456789abcdef" for letter in text)


def _without_callback(rules: MixedRules) -> MixedRules:
    return replace(rules, output=replace(rules.output, callback=None))


def _check_output(before: MixedRules, now: MixedRules) -> None:
    for name, field in (("url", "Url"), ("video", "Video"), ("audio", "Audio")):
        if getattr(before.output, name) != getattr(now.output, name):
            raise InvalidValue(
                f"MixedRules.Output.{field}",
                "another than before",
                "an update cannot change the output; send it as it was",
            )

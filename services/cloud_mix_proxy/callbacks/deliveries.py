"""Takes notices from the queue and delivers them: quick tries, then slow ones, until their time is over."""

import asyncio
import contextlib
import logging
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas.errors import MeshError, NotFound, Unavailable
from schemas.mix_tasks import CallbackItem, CallbackState, TaskRecord
from schemas.packets import UNREADABLE
from schemas.units import NS_PER_SECOND
from services.cloud_mix_proxy.callbacks.envelope import envelope
from services.cloud_mix_proxy.callbacks.post import TIMEOUT_SECONDS, post, reason_of
from services.cloud_mix_proxy.tasks import full_rules
from services.cloud_mix_proxy.tasks.records import Records
from shared.bus import Taker, Work, WorkQueue
from shared.cause import step, traceparent
from shared.service import Context
from shared.tasks import end_tasks, start_task
from shared.urls import MASK

log = logging.getLogger(__name__)

GIVE_UP_SECONDS: Final = 12.0
"""A service that says nothing of a notice for so long has died with it: another one delivers it."""
_QUICK_RETRIES: Final = 3  # these three as the API's rules have it
_QUICK_SECONDS: Final = 3.0
_LIFE_SECONDS: Final = 600.0
_SLOW_SECONDS: Final = 30.0
_DELIVERERS: Final = 4
_OF_ONE_OWNER: Final = 2
"""Notices at once: whoever's receivers hang has no more of the deliverers, and the others go on."""
_OWNER_BUSY_SECONDS: Final = 1.0
_MAX_TRIED: Final = 4_096  # notices whose tries are remembered; one that is forgotten has its quick ones again
_TAKE_SECONDS: Final = 5.0
_BUS_AWAY_SECONDS: Final = 1.0


class Deliveries:
    """Some deliverers, each with one notice at a time."""

    def __init__(
        self, context: Context[Any], queue: WorkQueue, records: Records, key: str, *, allow_private: bool
    ) -> None:
        self._bus, self._queue, self._records = context.bus, queue, records
        self._key, self._allow_private = key, allow_private
        self._threads = ThreadPoolExecutor(_DELIVERERS, thread_name_prefix="callback")
        self._busy: Counter[str] = Counter()
        """Notices on their way, by the owner of their task."""
        self._tries: OrderedDict[tuple[str, int], int] = OrderedDict()
        """By task and number; one that was delivered or given up is not here."""
        self.delivered = 0
        # Zeros too: what an alert sees for the first time at 1 has not grown.
        self.failed: Counter[str] = Counter(not_delivered=0, refused=0, given_up=0)
        self._workers = [context.spawn(self._deliver(), f"callbacks {number}") for number in range(_DELIVERERS)]

    async def close(self) -> None:
        await end_tasks(*self._workers)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _deliver(self) -> None:
        taker: Taker = self._queue.taker()
        try:
            while True:
                try:
                    work = await taker.take(_TAKE_SECONDS)
                    if work is not None:
                        with step(work.traceparent, "callback", "client", attempt=work.attempt):
                            await self._one(work)
                except Unavailable as error:  # what was taken comes again
                    log.debug("callbacks: %s", error)
                    await asyncio.sleep(_BUS_AWAY_SECONDS)
        finally:
            await taker.close()

    async def _one(self, work: Work) -> None:
        try:
            item = msgspec.json.decode(work.data, type=CallbackItem)
        except UNREADABLE as unreadable:
            log.error("a notice is not readable and is left out: %s", unreadable)
            await work.done()
            return
        record = await self._known(item.task)
        if record is None or not record.callback_url:  # it is forgotten: nobody is left to tell
            await work.done()
            return
        if self._busy[record.owner] >= _OF_ONE_OWNER:
            await work.again(_OWNER_BUSY_SECONDS)
            return
        self._busy[record.owner] += 1
        try:
            await self._deliver_to(record, item, work)
        finally:
            self._busy[record.owner] -= 1
            self._busy += Counter()  # without those that are 0

    async def _deliver_to(self, record: TaskRecord, item: CallbackItem, work: Work) -> None:
        going_on = start_task(_going_on(work), f"callback {item.task}")
        try:
            error = await self._try(record, item)
        except asyncio.CancelledError:  # the service ends: the next one need not wait until this one is given up
            await work.again()
            raise
        finally:
            await end_tasks(going_on)
        if error is not None:
            self.failed[reason_of(error)] += 1
            if time.time_ns() - item.notice.at_ns < _LIFE_SECONDS * NS_PER_SECOND:
                await self._count(item, partial(_not_yet, error=error.message))
                await work.again(self._wait_seconds(item))
                return
            self.failed["given_up"] += 1
            log.warning("task %s: notice %d given up: %s", item.task, item.notice.number, error)
        else:
            self.delivered += 1
        self._tries.pop((item.task, item.notice.number), None)
        # Taken out first: a receiver may be told twice, but what is counted shall have been.
        await work.done()
        await self._count(item, partial(_over, item=item, error=error.message if error else ""))

    async def _try(self, record: TaskRecord, item: CallbackItem) -> MeshError | None:
        """Why it was not delivered."""
        try:
            url = (await full_rules.unseal(self._bus, record)).callback_url
            if MASK in url:  # its secret is forgotten: what may be shown leads nowhere
                raise NotFound("the address is known no more, as the task has been done for long")
            body = envelope(item, self._key, int(time.time()))
            send = partial(post, url, body, allow_private=self._allow_private, traceparent=traceparent())
            await asyncio.get_running_loop().run_in_executor(self._threads, send)
        except MeshError as error:
            return error
        return None

    def _wait_seconds(self, item: CallbackItem) -> float:
        """Until the next try. It waits in the queue: in a deliverer it would hold up those of others."""
        key = (item.task, item.notice.number)
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        self._tries.move_to_end(key)
        if len(self._tries) > _MAX_TRIED:
            self._tries.popitem(last=False)
        return _QUICK_SECONDS if tries <= _QUICK_RETRIES else _SLOW_SECONDS

    async def _known(self, task: str) -> TaskRecord | None:
        known = await self._records.get(task)
        return known.record if known is not None else None

    async def _count(self, item: CallbackItem, change: Any) -> None:
        with contextlib.suppress(Unavailable):  # a figure for people; the metrics have it too
            await self._records.count_callback(item.task, change)


async def _going_on(work: Work) -> None:
    while True:
        await asyncio.sleep(TIMEOUT_SECONDS / 2)
        await work.going_on()


def _not_yet(state: CallbackState, error: str) -> CallbackState:
    return replace(state, error=error)


def _over(state: CallbackState, item: CallbackItem, error: str) -> CallbackState:
    if error:
        return replace(state, given_up=state.given_up + 1, error=error)
    return CallbackState(
        delivered=state.delivered + 1,
        given_up=state.given_up,
        last_number=max(state.last_number, item.notice.number),
        last_at_ns=time.time_ns(),
    )

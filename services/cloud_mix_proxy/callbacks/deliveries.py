"""Takes notices from the queue and delivers them: quick tries, then slow ones, until their time is over."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas.errors import MeshError, NotFound, Unavailable
from schemas.mix_tasks import CallbackItem, CallbackState
from schemas.packets import UNREADABLE
from services.cloud_mix_proxy.callbacks.envelope import envelope
from services.cloud_mix_proxy.callbacks.post import TIMEOUT_SECONDS, post, reason_of
from services.cloud_mix_proxy.tasks import full_rules
from services.cloud_mix_proxy.tasks.records import Records
from shared.bus import Taker, Work, WorkQueue
from shared.service import Context
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

GIVE_UP_SECONDS: Final = 12.0
"""A service that says nothing of a notice for so long has died with it: another one delivers it."""
_QUICK_RETRIES: Final = 3  # these three as the API's rules have it
_QUICK_SECONDS: Final = 3.0
_LIFE_SECONDS: Final = 600.0
_SLOW_SECONDS: Final = 30.0
_DELIVERERS: Final = 4  # at once: one receiver that hangs must not hold up the others
_TAKE_SECONDS: Final = 5.0
_BUS_AWAY_SECONDS: Final = 1.0
_NS: Final = 1_000_000_000


class Deliveries:
    """Some deliverers, each with one notice at a time."""

    def __init__(
        self, context: Context[Any], queue: WorkQueue, records: Records, key: str, *, allow_private: bool
    ) -> None:
        self._bus, self._queue, self._records = context.bus, queue, records
        self._key, self._allow_private = key, allow_private
        self._threads = ThreadPoolExecutor(_DELIVERERS, thread_name_prefix="callback")
        self.delivered = 0
        self.failed: Counter[str] = Counter()
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
        going_on = start_task(_going_on(work), f"callback {item.task}")
        try:
            error = await self._try(item)
        except asyncio.CancelledError:  # the service ends: the next one need not wait until this one is given up
            await work.again()
            raise
        finally:
            await end_tasks(going_on)
        if error is not None and time.time_ns() - item.notice.at_ns < _LIFE_SECONDS * _NS:
            await self._count(item, partial(_not_yet, error=error.message))
            await work.again(_SLOW_SECONDS)
            return
        if error is None:
            self.delivered += 1
        else:
            self.failed["given_up"] += 1
            log.warning("task %s: notice %d given up: %s", item.task, item.notice.number, error)
        # Taken out first: a receiver may be told twice, but what is counted shall have been.
        await work.done()
        await self._count(item, partial(_over, item=item, error=error.message if error else ""))

    async def _try(self, item: CallbackItem) -> MeshError | None:
        """None: it is delivered, or there is nobody to tell."""
        error: MeshError | None = None
        for attempt in range(1 + _QUICK_RETRIES):
            if attempt:
                await asyncio.sleep(_QUICK_SECONDS)
            try:
                url = await self._url(item.task)
                if not url:
                    return None
                body = envelope(item, self._key, int(time.time()))
                send = partial(post, url, body, allow_private=self._allow_private)
                await asyncio.get_running_loop().run_in_executor(self._threads, send)
            except NotFound:  # the task is forgotten
                return None
            except MeshError as refused:
                error = refused
                self.failed[reason_of(refused)] += 1
            else:
                return None
        return error

    async def _url(self, task: str) -> str:
        known = await self._records.get(task)
        if known is None:
            return ""
        return (await full_rules.unseal(self._bus, known.record)).callback_url

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

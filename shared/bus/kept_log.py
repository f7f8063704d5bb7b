"""A bounded stream of records: written without waiting, and read from a moment on."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from schemas.errors import Forbidden, Unavailable
from shared.bus.jetstream_ready import when_jetstream_answers
from shared.bus.refusals import NotAllowed
from shared.bus.subscription import Message
from shared.cause import nobody
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_MAX_WAITING = 4_096  # records while the server is away: some minutes of a busy mesh's commands, 2 MB
_AT_ONCE = 64  # on their way to the server
_PUBLISH_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_SAME_RECORD_SECONDS = 120.0  # one that is sent again within this time, as its answer was lost, is kept once
_CLOSE_SECONDS = 1.0
_READ_SECONDS = 10.0  # without a record: a server that is so late has other troubles
_FORGOTTEN_SECONDS = 5.0  # how long the server keeps the place of a reader that has gone
_HEARTBEAT_SECONDS = 5.0  # JetStream's flow control asks for one
_MAX_READ_AHEAD = 65_536  # records that wait for a slow reader


class _Waiting(NamedTuple):
    subject: str
    data: bytes
    name: str


class KeptLog:
    """Records wait in order until the server has taken them; what is too much is dropped and counted."""

    def __init__(
        self,
        jetstream: JetStreamContext,
        name: str,
        subjects: str,
        *,
        max_age_seconds: float,
        max_bytes: int,
        replicas: int = 1,
    ) -> None:
        """`max_bytes`, `max_age_seconds`: when there is more, the oldest go."""
        self._jetstream = jetstream
        self._config = StreamConfig(
            name=name,
            subjects=[subjects],
            max_age=max_age_seconds,
            max_bytes=max_bytes,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            duplicate_window=min(_SAME_RECORD_SECONDS, max_age_seconds),
            num_replicas=replicas,
            # What was written stays: a client that may publish can take nothing out again.
            deny_delete=True,
            deny_purge=True,
        )
        self._waiting: deque[_Waiting] = deque()
        self._filled, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._away_since_s: float | None = None
        self._why = ""
        self.written = 0
        self.lost: Counter[str] = Counter(queue=0)  # what is seen for the first time at 1 has not grown
        """Records that are not kept, by reason."""
        with nobody():
            self._task = start_task(self._write(), f"write {name}")

    @property
    def problem(self) -> str:
        """What is wrong, in one line; empty: nothing."""
        lost = sum(self.lost.values())
        told = f"; {lost} lost" if lost else ""
        if self._away_since_s is not None:
            seconds = time.monotonic() - self._away_since_s
            return f"not written for {seconds:.0f} s ({self._why}), {len(self._waiting)} wait{told}"
        return f"{lost} lost" if lost else ""

    def post(self, subject: str, data: bytes, name: str) -> None:
        """Write `data`, soon; one of the same `name` is kept once."""
        if len(self._waiting) >= _MAX_WAITING:
            self.lost["queue"] += 1
            return
        self._waiting.append(_Waiting(subject, data, name))
        self._empty.clear()
        self._filled.set()

    async def make(self) -> None:
        """Make the stream now, where it does not exist: the first record does so otherwise.

        Raises:
            Unavailable: the server has no JetStream, or does not let this party.
        """
        await when_jetstream_answers(self._config.name or "", self._ensure, self._jetstream)

    async def close(self) -> None:
        """Write what waits, within a deadline."""
        if not await set_within(self._empty, _CLOSE_SECONDS):
            self.lost["end"] += len(self._waiting)
            log.warning("%s: %d records are lost, the bus did not take them", self._config.name, len(self._waiting))
        await end_tasks(self._task)

    async def _write(self) -> None:
        known = False
        while True:
            await self._filled.wait()
            batch = [self._waiting[index] for index in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                if not known:
                    await self._ensure()
                    known = True
                for error in await asyncio.gather(*map(self._one, batch), return_exceptions=True):
                    if isinstance(error, BaseException):
                        raise error
            except (nats.errors.Error, TimeoutError, OSError) as error:
                known = False  # it may be another server, which has no such stream yet
                self._trouble(error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._away_since_s = None
            for _ in batch:
                self._waiting.popleft()
            self.written += len(batch)
            if not self._waiting:
                self._filled.clear()
                self._empty.set()

    async def _one(self, record: _Waiting) -> None:
        headers = {"Nats-Msg-Id": record.name}
        await self._jetstream.publish(record.subject, record.data, timeout=_PUBLISH_SECONDS, headers=headers)

    def _trouble(self, error: BaseException) -> None:
        described = error.description if isinstance(error, APIError) else ""
        self._why = described or type(error).__name__
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
            log.warning("%s: records wait, the bus does not take them (%s)", self._config.name, self._why)

    async def _ensure(self) -> None:
        name = self._config.name or ""
        try:
            there = (await self._jetstream.stream_info(name)).config
        except NotFoundError:
            try:
                await self._jetstream.add_stream(self._config)
            except BadRequestError as error:  # another service made it first
                log.debug("stream %s: %s", name, error)
            return
        if there.max_bytes != self._config.max_bytes or there.max_age != self._config.max_age:
            # No service may change it: one that somebody has taken over could make it forget.
            log.info(
                "%s was made with other bounds than the settings say; `nats stream edit %s` changes them", name, name
            )


async def read_since(
    jetstream: JetStreamContext, stream: str, subjects: str, since_s: float
) -> AsyncIterator[tuple[float, Message]]:
    """Everything that is kept since then (seconds since 1970), in order, with when it was written; ends at the newest.

    Raises:
        Forbidden: this party may not.
        Unavailable: JetStream does not answer, or there is no such stream.
    """
    found: asyncio.Queue[tuple[float, int, Message]] = asyncio.Queue(_MAX_READ_AHEAD)

    async def receive(message: Msg) -> None:
        metadata = message.metadata
        told = (metadata.timestamp.timestamp(), metadata.num_pending, Message(message.subject, message.data))
        await found.put(told)

    place = ConsumerConfig(
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_TIME,
        opt_start_time=datetime.fromtimestamp(since_s, UTC).isoformat().replace("+00:00", "Z"),  # type: ignore[arg-type]
        inactive_threshold=_FORGOTTEN_SECONDS,
        mem_storage=True,
    )
    try:
        subscription = await jetstream.subscribe(
            subjects,
            stream=stream,
            config=place,
            cb=receive,
            manual_ack=True,
            flow_control=True,
            idle_heartbeat=_HEARTBEAT_SECONDS,
        )
        try:
            info = await subscription.consumer_info()
            left = bool(info.num_pending or (info.delivered and info.delivered.consumer_seq))
            while left:
                async with asyncio.timeout(_READ_SECONDS):
                    at_s, pending, message = await found.get()
                left = pending > 0
                yield at_s, message
        finally:
            await subscription.unsubscribe()
    except NotFoundError:
        raise Unavailable(f"{stream} is not there yet: nothing was ever written to it") from None
    except NotAllowed as error:
        raise Forbidden(f"{error}; see who may in ops/nats/permissions.md") from None
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"{stream} cannot be read ({type(error).__name__}); try again") from None

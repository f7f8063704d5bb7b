"""A queue of work that outlives its workers: what one has taken and does not finish, another gets."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from schemas.errors import BadRequest, Forbidden, TooMany, Unavailable
from schemas.trace import TRACEPARENT
from shared.bus.hub import HubJetStream
from shared.bus.jetstream_ready import CALL_TIMEOUT_SECONDS, when_jetstream_answers
from shared.bus.refusals import NotAllowed
from shared.bus.replicas import fit_replicas, same_or_raise

log = logging.getLogger(__name__)

_STREAM_FULL = (10077, 10047)  # error codes of JetStream: no room in the stream, none in the store
_MAX_BYTES = 128 << 20  # a hundred thousand items of 1.3 KB
# An item that is put a second time within this time is dropped by the server.
_SAME_ITEM_SECONDS = 3600.0
_CONFIRM_SECONDS = 2.0


class QueueSize(NamedTuple):
    waiting: int
    taken: int


class Work:
    """One item, taken: call `going_on` well within the queue's `give_up_seconds` until it is `done`."""

    def __init__(self, message: Msg) -> None:
        self.data = message.data
        self.traceparent = (message.headers or {}).get(TRACEPARENT, "")
        """What led to it; empty: that is not known."""
        self.attempt = message.metadata.num_delivered
        """How often it was taken, this time included."""
        self._message = message

    async def going_on(self) -> None:
        """It is being worked on: nobody else shall have it yet."""
        with contextlib.suppress(nats.errors.Error, OSError):  # told again in a moment; the queue gives us some
            await self._message.in_progress()

    async def done(self) -> bool:
        """Take it out of the queue; False when the server does not say that it did, so that it may come again."""
        try:
            await self._message.ack_sync(timeout=_CONFIRM_SECONDS)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            log.debug("work is done, but the queue does not answer: %s", error or type(error).__name__)
            return False
        return True

    async def again(self, seconds: float = 0.0) -> None:
        """Give it back, for whoever takes it `seconds` from now or later."""
        with contextlib.suppress(nats.errors.Error, OSError):  # then it comes when our time for it is over
            await self._message.nak(delay=seconds or None)


class WorkQueue:
    """A JetStream stream with work-queue retention, and its one consumer."""

    def __init__(
        self,
        jetstream: JetStreamContext,
        name: str,
        subject: str,
        consumer: str,
        *,
        give_up_seconds: float,
        max_items: int,
        max_age_seconds: float,
        replicas: int = 1,
    ) -> None:
        """Args:
        give_up_seconds: an item whose worker is silent for so long goes to another.
        max_items: more are refused.
        max_age_seconds: what nobody has done until then is dropped.
        replicas: so many servers keep it.
        """
        self._jetstream = jetstream
        self._name, self._subject, self._consumer = name, subject, consumer
        self._max_items, self._replicas = max_items, replicas
        self._stream_config = StreamConfig(
            name=name,
            subjects=[subject],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_msgs=max_items,
            max_bytes=_MAX_BYTES,
            max_age=max_age_seconds,
            duplicate_window=min(_SAME_ITEM_SECONDS, max_age_seconds),
            num_replicas=replicas,
        )
        self._consumer_config = ConsumerConfig(
            durable_name=consumer,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=give_up_seconds,
            max_deliver=-1,  # how often is the worker's to say, which knows why
            max_ack_pending=10_000,
        )

    async def open(self) -> None:
        """Make stream and consumer where they do not exist; both are as this queue says, whoever made them.

        Raises:
            InvalidValue: there are fewer servers than it shall be kept by.
            Unavailable: the server has no JetStream, or no room.
        """
        await when_jetstream_answers(self._name, self._fit, self._jetstream)

    async def put(self, item: str, data: bytes) -> None:
        """Add an item; one of the same name that came within the last hour is not added again.

        Raises:
            BadRequest: it is larger than a message may be.
            TooMany: the queue is full.
            Unavailable: the bus did not take it in time.
        """
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                await self._jetstream.publish(self._subject, data, headers={"Nats-Msg-Id": item})
        except nats.errors.MaxPayloadError:
            raise BadRequest(f"{item}: {len(data)} bytes are more than the bus takes; ask for less at once") from None
        except (nats.errors.Error, TimeoutError) as error:
            if isinstance(error, APIError) and error.err_code in _STREAM_FULL:
                few = "bytes" in (error.description or "")  # that are large
                waiting = "too many bytes" if few else self._max_items
                raise TooMany(f"{waiting} are waiting already; try again later") from None
            if isinstance(self._jetstream, HubJetStream):
                raise Unavailable(
                    f"this host is cut off from its hub, which keeps {self._name}: the job was not taken; try again "
                    "when the link is back"
                ) from None
            # What nats-server does when its disk is full: it writes no more, answers no more, and needs a restart.
            raise Unavailable(
                f"the bus did not take the job ({type(error).__name__}); try again, and see whether its disk is full"
            ) from None

    def taker(self) -> "Taker":
        """For one who takes items one after the other."""
        return Taker(self)

    async def subscribe(self) -> JetStreamContext.PullSubscription:
        await self._ensure()
        return await self._jetstream.pull_subscribe_bind(consumer=self._consumer, stream=self._name)

    async def size(self) -> QueueSize:
        """How many wait, and how many are being worked on.

        Raises:
            Unavailable: the bus does not answer.
        """
        async with _answered(self._name):
            info = await self._jetstream.consumer_info(self._name, self._consumer)
        return QueueSize(info.num_pending or 0, info.num_ack_pending or 0)

    async def _fit(self) -> None:
        await self._ensure()
        await fit_replicas(self._jetstream, self._name, self._replicas)
        config = (await self._jetstream.stream_info(self._name)).config
        if config.max_msgs != self._max_items:
            try:
                await self._jetstream.update_stream(config.evolve(max_msgs=self._max_items))
            except NotAllowed:  # in a locked mesh one party makes what is kept, and no other changes it
                log.warning("%s stays at %s items: nobody lets this service change it", self._name, config.max_msgs)

    async def _ensure(self) -> None:
        try:
            await self._jetstream.stream_info(self._name)
        except NotFoundError:
            try:
                await self._jetstream.add_stream(self._stream_config)
            except APIError as error:  # another worker made it first
                same_or_raise(error, self._replicas)
                log.debug("stream %s: %s", self._name, error)
        try:
            info = await self._jetstream.consumer_info(self._name, self._consumer)
            known = info.config.ack_wait if info.config else None
        except NotFoundError:
            known = None
        if known is None or abs(known - (self._consumer_config.ack_wait or 0)) > 1e-6:
            await self._jetstream.add_consumer(self._name, self._consumer_config)


class Taker:
    """Takes items of a queue, one after the other. Of its own for each worker: nats-py mixes up requests made at once
    on one subscription."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def take(self, timeout_seconds: float) -> Work | None:
        """The next item; None when there is none in time.

        Raises:
            Unavailable: the bus does not answer.
        """
        try:
            if self._subscription is None:
                self._subscription = await self._queue.subscribe()
            return Work((await self._subscription.fetch(1, timeout=timeout_seconds))[0])
        except TimeoutError:  # nats-py's own is one
            return None
        except (nats.errors.Error, OSError) as error:
            await self.close()
            raise Unavailable(f"the bus gives no work ({error or type(error).__name__})") from None

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
                await subscription.unsubscribe()


@contextlib.asynccontextmanager
async def _answered(name: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
            yield
    except NotAllowed as error:
        raise Forbidden(f"{error}; see who may in ops/nats/permissions.md") from None
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"the bus did not answer for {name} ({type(error).__name__}); try again") from None

"""The mesh's message bus: what is published, asked and kept, over one connection that never blocks the frame path."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import msgspec
from nats.aio.msg import Msg

from schemas.buckets import BucketForm, form_of
from schemas.errors import InternalError, Unavailable
from schemas.events import Event
from schemas.subjects import event
from shared.bus.arrivals import InOrder
from shared.bus.connection import Connection
from shared.bus.endpoints import Answered, Endpoint, Served, serve
from shared.bus.hub import HubBucket, HubJetStream, open_on_leaf
from shared.bus.kept_events import ensure_events, read_events
from shared.bus.kept_log import KeptLog, read_since
from shared.bus.kv import Bucket
from shared.bus.opening import bucket_config, open_bucket
from shared.bus.outbox import Outbox
from shared.bus.requests import ask
from shared.bus.subscription import Message, Subscription, taker
from shared.bus.work_queue import WorkQueue
from shared.cause import trace_id

log = logging.getLogger(__name__)
Reply = TypeVar("Reply")
T = TypeVar("T")

_REQUEST_TIMEOUT_SECONDS = 10.0
_HUB_SECONDS = 3.0  # for some questions over a slow link; who starts on a host that is cut off waits so long
# Meant for another stream than that of the events, which leaves it out; who listens gets it as ever.
_NOT_KEPT = {"Nats-Expected-Stream": "none"}


class Bus(Connection):
    """The mesh's message bus. Make one per process with `connect`, end it with `drain`.

    Not thread-safe but for `post_from_thread` and `run_from_thread`.
    """

    def __init__(self, url: str, replicas: int = 1) -> None:
        super().__init__(url, replicas)
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._client, self.stats)
        self._answered_hooks: list[Callable[[Answered], None]] = []
        self._buckets: dict[str, Bucket] = {}
        self._order = InOrder()

    def on_answered(self, hook: Callable[[Answered], None]) -> None:
        """Call `hook` after every command that is answered here; it must return at once."""
        self._answered_hooks.append(hook)

    def _answered(self, answered: Answered) -> None:
        for hook in self._answered_hooks:
            hook(answered)

    # -- publishing ------------------------------------------------------------------------------------------

    def post(self, subject: str, data: bytes) -> None:
        """Publish without ever waiting: while disconnected, or when too much is unsent already, drop and count."""
        self._outbox.post(subject, data)

    def post_from_thread(self, subject: str, data: bytes) -> None:
        """`post` for media threads; what waits for a busy event loop is bounded too."""
        self._outbox.post_from_thread(subject, data)

    def post_event(self, item: Event, *, kept: bool = True) -> None:
        """Publish an event, of the story that runs here unless it tells its own; kept in the events stream unless only
        those who listen now need it."""
        if not item.trace_id and (trace := trace_id()):
            item = msgspec.structs.replace(item, trace_id=trace)
        headers = None if kept else _NOT_KEPT
        self._outbox.post(event(item.service, item.id, item.event), msgspec.json.encode(item), headers)

    # -- subscribing -----------------------------------------------------------------------------------------

    async def subscribe(self, subject: str, receive: Callable[[Message], None]) -> Subscription:
        """Call `receive` in the event loop for every message; it must return at once."""
        take = taker(receive, self.stats)

        async def forward(message: Msg) -> None:
            take(message.subject, message.data)

        # Callbacks, not iterators: nats-py's `async for` is four times slower.
        inner = await self._client.subscribe(subject, cb=forward)
        number = str(inner._id).encode()
        if not inner.delivered:  # else what comes next would overtake what waits in nats-py's queue
            self._receivers[number] = take
        return Subscription(inner, lambda: self._receivers.pop(number, None))

    def run_from_thread(self, work: Coroutine[Any, Any, T], timeout_seconds: float) -> T:
        """Have the event loop do something for a media thread, which waits.

        Raises:
            Unavailable: not within `timeout_seconds`, or the loop has ended.
        """
        if self._loop.is_closed():
            work.close()
            raise Unavailable("the bus is closed")
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result(timeout_seconds)
        except (TimeoutError, CancelledError):
            running.cancel()
            raise Unavailable(f"the bus did not answer within {timeout_seconds:g} s") from None

    # -- commands --------------------------------------------------------------------------------------------

    async def request(
        self,
        subject: str,
        request: msgspec.Struct,
        reply_type: type[Reply],
        timeout_seconds: float = _REQUEST_TIMEOUT_SECONDS,
    ) -> Reply:
        """Send a command and decode its reply.

        Raises:
            MeshError: the service's own typed error, or `Unavailable` when nobody answers.
        """
        data = await self.request_raw(subject, msgspec.json.encode(request), timeout_seconds)
        try:
            return msgspec.json.decode(data, type=reply_type)
        except msgspec.DecodeError as error:
            raise InternalError(f"unreadable reply from {subject}: {error}") from None

    async def request_raw(self, subject: str, data: bytes, timeout_seconds: float = _REQUEST_TIMEOUT_SECONDS) -> bytes:
        """Send a command as JSON bytes; returns the reply's bytes.

        Raises:
            InvalidValue: `subject` is none that can be asked.
            MeshError: as for `request`. When the error reply has a body, it is in the exception's `reply`.
        """
        return await ask(self._client, subject, data, timeout_seconds)

    async def serve(
        self,
        name: str,
        version: str,
        description: str,
        endpoints: list[Endpoint],
        metadata: dict[str, str] | None = None,
    ) -> Served:
        """Answer commands as a NATS micro service; ready when this returns."""
        served = await serve(
            self._client, self._order, name, version, description, endpoints, metadata or {}, self._answered
        )
        await self.answers(2)  # the server has the subscriptions: no request can miss them now
        return served

    # -- state -----------------------------------------------------------------------------------------------

    async def bucket(self, name: str, form: BucketForm | None = None) -> Bucket:
        """Open a key-value bucket, making it where it does not exist, in the form that `schemas.buckets` has for it.

        Memory buckets are lost with the server and made again on first use after that.
        """
        if name not in self._buckets:
            form = form or form_of(name)
            if self.leaf_of is None:
                opening = open_bucket(self._client.jetstream(timeout=2), self, name, form, self._replicas)
            else:
                opening = open_on_leaf(self._client, self, name, form, self._replicas)
            self._buckets[name] = await opening
        return self._buckets[name]

    def hub_bucket(self, name: str, form: BucketForm) -> Bucket:
        """For who is connected to a leaf: the hub's own bucket, made where it does not exist when it is first used."""
        return HubBucket(self, HubJetStream(self._client), bucket_config(name, form, self._replicas))

    async def work_queue(
        self,
        name: str,
        subject: str,
        consumer: str,
        *,
        give_up_seconds: float,
        max_items: int,
        max_age_seconds: float,
    ) -> WorkQueue:
        """Open a queue of work, making it where it does not exist; arguments as of `WorkQueue`.

        Raises:
            Unavailable: the server has no JetStream.
        """
        queue = WorkQueue(
            self._client.jetstream(timeout=2) if self.leaf_of is None else HubJetStream(self._client),
            name,
            subject,
            consumer,
            give_up_seconds=give_up_seconds,
            max_items=max_items,
            max_age_seconds=max_age_seconds,
            replicas=self._replicas,
        )
        try:
            async with asyncio.timeout(None if self.leaf_of is None else _HUB_SECONDS):
                await queue.open()
        except (Unavailable, TimeoutError):
            if self.leaf_of is None:
                raise
            log.warning("the hub, which keeps %s, is away: it is looked for when it is needed", name)
        return queue

    def kept_log(self, name: str, subjects: str, *, max_age_seconds: float, max_bytes: int) -> KeptLog:
        """Begin to write to a bounded stream, which is made where it does not exist; whoever begins it closes it."""
        jetstream = self._client.jetstream(timeout=2)
        return KeptLog(
            jetstream,
            name,
            subjects,
            max_age_seconds=max_age_seconds,
            max_bytes=max_bytes,
            replicas=self._replicas,
        )

    def kept_since(self, stream: str, subjects: str, since_s: float) -> AsyncIterator[tuple[float, Message]]:
        """Everything that a stream keeps since then, in order, with when it was written, in seconds since 1970.

        Raises:
            Unavailable: JetStream does not answer, or there is no such stream.
        """
        return read_since(self._client.jetstream(timeout=2), stream, subjects, since_s)

    async def ensure_events(self) -> None:
        """Make the bounded stream that keeps events, where it does not exist.

        Raises:
            Unavailable: the server has no JetStream.
        """
        await ensure_events(self._client.jetstream(timeout=2), self._replicas)

    async def kept_events(self, after: int, most: int) -> tuple[int, list[Message]]:
        """The newest `most` events that are kept behind number `after` of the stream, the oldest first; and the number
        of the last one.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return await read_events(self._client.jetstream(timeout=2), after, most)

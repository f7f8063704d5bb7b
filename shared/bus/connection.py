"""A connection that lasts: reconnects for ever, never blocks the frame path, drains on shutdown."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Self, TypeVar

import msgspec
import nats.errors
from nats.aio.msg import Msg

from schemas.errors import InternalError, Unavailable
from schemas.events import Event
from schemas.subjects import event
from shared.bus.arrivals import InOrder
from shared.bus.client import ReadingClient
from shared.bus.connecting import DRAIN_TIMEOUT_SECONDS, connect
from shared.bus.endpoints import Endpoint, Served, serve
from shared.bus.kept_events import ensure_events, read_events
from shared.bus.kv import DEFAULT_BUCKET_BYTES, Bucket, open_bucket
from shared.bus.outbox import BusStats, Outbox
from shared.bus.pings import Pings
from shared.bus.reader import ReadingTransport, Receive
from shared.bus.requests import ask
from shared.bus.subscription import Message, Subscription, taker
from shared.bus.work_queue import WorkQueue

log = logging.getLogger(__name__)
Reply = TypeVar("Reply")
T = TypeVar("T")

_REQUEST_TIMEOUT_SECONDS = 10.0
_WEB_SOCKET_SCHEMES = ("ws:", "wss:")
# Meant for another stream than that of the events, which leaves it out; who listens gets it as ever.
_NOT_KEPT = {"Nats-Expected-Stream": "none"}


def _nothing() -> None:
    """Until somebody wants to know."""


class Bus:
    """The mesh's message bus. Make one per process with `connect`, end it with `drain`.

    Not thread-safe but for `post_from_thread` and `run_from_thread`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.stats = BusStats()
        self._loop = asyncio.get_running_loop()
        self._client = ReadingClient()
        self._receivers: dict[bytes, Receive] = {}
        """By the number of their subscription; the others' messages go through nats-py."""
        self._outbox = Outbox(self._client, self.stats)
        self._reconnect_hooks: list[Callable[[], None]] = []
        self._on_closed: Callable[[], object] = _nothing
        self._buckets: dict[str, Bucket] = {}
        self._pings = Pings(self._client)
        self._order = InOrder()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        credentials_file: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Self:
        """Connect to the server at `url`.

        Args:
            name: shown by the server's monitoring.
            credentials_file: NATS credentials (JWT and nkey seed), where the server asks for them.
            timeout_seconds: None keeps trying for ever, as a service should.

        Raises:
            Unavailable: no server within `timeout_seconds`; or it refuses these credentials.
        """
        bus = cls(url)
        if not url.startswith(_WEB_SOCKET_SCHEMES):
            bus._client._transport = ReadingTransport(bus._receivers)
        await connect(
            bus._client,
            url,
            name=name,
            credentials_file=credentials_file,
            timeout_seconds=timeout_seconds,
            on_reconnected=bus._reconnected,
            on_closed=bus._closed,
        )
        return bus

    def _reconnected(self) -> None:
        self.stats.reconnects += 1
        for hook in tuple(self._reconnect_hooks):
            hook()

    def _closed(self) -> None:
        self._on_closed()

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    @property
    def max_payload_bytes(self) -> int:
        """The largest message the server takes."""
        return int(self._client.max_payload)

    def on_reconnect(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call `hook` after every reconnect; returns a function that takes it off again."""
        self._reconnect_hooks.append(hook)
        return lambda: self._reconnect_hooks.remove(hook)

    def on_closed(self, hook: Callable[[], object]) -> None:
        """Call `hook` when the server ends the connection for good, as when credentials have expired; once, and not
        for `drain`."""
        self._on_closed = hook

    # -- publishing ------------------------------------------------------------------------------------------

    def post(self, subject: str, data: bytes) -> None:
        """Publish without ever waiting: while disconnected, or when too much is unsent already, drop and count."""
        self._outbox.post(subject, data)

    def post_from_thread(self, subject: str, data: bytes) -> None:
        """`post` for media threads; what waits for a busy event loop is bounded too."""
        self._outbox.post_from_thread(subject, data)

    def post_event(self, item: Event, *, kept: bool = True) -> None:
        """Publish an event, kept in the events stream unless only those who listen now need it."""
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
        served = await serve(self._client, self._order, name, version, description, endpoints, metadata or {})
        await self.answers(2)  # the server has the subscriptions: no request can miss them now
        return served

    # -- state -----------------------------------------------------------------------------------------------

    async def bucket(
        self,
        name: str,
        *,
        ttl_seconds: float | None = None,
        memory: bool = False,
        history: int = 1,
        max_bytes: int = DEFAULT_BUCKET_BYTES,
    ) -> Bucket:
        """Open a key-value bucket, making it where it does not exist.

        Memory buckets are lost with the server and made again on first use after that.
        """
        if name not in self._buckets:
            self._buckets[name] = await open_bucket(
                self._client.jetstream(timeout=2),
                self,
                name,
                ttl_seconds=ttl_seconds,
                memory=memory,
                history=history,
                max_bytes=max_bytes,
            )
        return self._buckets[name]

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
            self._client.jetstream(timeout=2),
            name,
            subject,
            consumer,
            give_up_seconds=give_up_seconds,
            max_items=max_items,
            max_age_seconds=max_age_seconds,
        )
        await queue.open()
        return queue

    async def ensure_events(self) -> None:
        """Make the bounded stream that keeps events, where it does not exist.

        Raises:
            Unavailable: the server has no JetStream.
        """
        await ensure_events(self._client.jetstream(timeout=2))

    async def kept_events(self, after: int, most: int) -> tuple[int, list[Message]]:
        """The newest `most` events that are kept behind number `after` of the stream, the oldest first; and the number
        of the last one.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return await read_events(self._client.jetstream(timeout=2), after, most)

    # -- ending ----------------------------------------------------------------------------------------------

    async def flush(self, timeout_seconds: float = 1.0) -> None:
        """Wait until everything posted so far has reached the server, or the time is over."""
        await self.answers(timeout_seconds)

    async def answers(self, timeout_seconds: float = 1.0) -> bool:
        """True when the server answers a PING in time: it is there, and has all that was sent before."""
        return await self._pings.answered(timeout_seconds)

    async def drain(self) -> None:
        """Finish what is under way and disconnect. `drain`, not `Service.stop()`: that cancels running handlers."""
        if self._client.is_closed:
            return
        self._client._closed_cb = None
        await self.flush()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS + 1):
                if self._client.is_connected:
                    await self._client.drain()
                else:
                    await self._client.close()
        except (OSError, nats.errors.Error) as error:  # a TimeoutError, or what was unsent when the server went away
            log.debug("drain: %s", error or type(error).__name__)
            with contextlib.suppress(OSError):
                await self._client.close()

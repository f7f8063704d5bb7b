"""Streams that were made for their publisher: when it goes they stay for a while, and then are taken away."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from schemas.errors import MeshError
from services.webrtc_gateway.ingest.claims import Claims
from services.webrtc_gateway.ingest.streams import IngestStreams
from shared.tasks import end_tasks

logger = logging.getLogger(__name__)


class Lingering:
    """Those that wait for their publisher to come back."""

    def __init__(
        self,
        streams: IngestStreams,
        claims: Claims,
        lock_of: Callable[[str], asyncio.Lock],
        is_published: Callable[[str], bool],
        linger_seconds: float,
    ) -> None:
        """`lock_of`: whoever holds a stream's may make it or take it away."""
        self._streams, self._claims = streams, claims
        self._lock_of, self._is_published = lock_of, is_published
        self._linger_seconds = linger_seconds
        self._handles: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> Collection[str]:
        return self._handles.keys()

    def begin(self, stream: str) -> None:
        """From now on, whether it waits already or not."""
        self.end(stream)
        loop = asyncio.get_running_loop()
        self._handles[stream] = loop.call_later(self._linger_seconds, self._desert, stream)

    def end(self, stream: str) -> None:
        """It has a publisher again."""
        if (handle := self._handles.pop(stream, None)) is not None:
            handle.cancel()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what is left to do for a stream that has lost its publisher."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
        if self._tasks:
            await end_tasks(*self._tasks)

    def _desert(self, stream: str) -> None:
        self._handles.pop(stream, None)
        if not self._is_published(stream):
            self.start(self._take_away(stream))

    async def _take_away(self, stream: str) -> None:
        async with self._lock_of(stream):  # somebody may be about to publish it again
            if self._is_published(stream):
                return
            await self._streams.deafen(stream)
            if not self._streams.is_transient(stream):
                self._streams.forget(stream)
                return
            # By another gateway, or capture has not noticed yet: the gateway finds those that are not.
            if self._streams.is_fed(stream):
                return
            try:
                # Of all gateways only one does it, and while it does, nobody begins to publish.
                await self._claims.take_if_free(stream)
                try:
                    await self._streams.remove(stream)
                finally:
                    await self._claims.give_back(stream)
            except MeshError as error:  # it is another's; or capture or the bus is away
                logger.info("stream %s is not removed: %s", stream, error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a stream that nobody publishes is not taken away", exc_info=error)

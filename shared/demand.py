"""Demand: consumers show what they need, producers work only while somebody does.

A key `<node>.<stream>.<rendition>.<consumer>` in `mesh_demand` is put again every two seconds and forgotten five
seconds after the last time; a consumer that dies is forgotten by itself. While the bus is away, or does not answer,
nothing expires.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Self

from schemas.buckets import DEMAND_TTL_SECONDS
from schemas.errors import MeshError
from schemas.subjects import DEMAND_BUCKET, demand_key
from shared.bus import Bucket, Bus, Entry, Mirror
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 2.0  # two may be lost before the demand lapses
_EXPIRY_CHECK_SECONDS = 0.5


class Wants:
    """What this process needs from others. One per process; `want` and the handle it returns are all there is."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus
        self._keys: dict[str, int] = {}
        self._poke = asyncio.Event()
        self._new: set[str] = set()
        self._gone: set[str] = set()
        self._closing = False
        self._forget_hook = bus.on_reconnect(self._poke.set)
        self._task = start_task(self._refresh(), "demand-refresh")

    def want(self, node: str, stream: str, rendition: str, consumer: str) -> Callable[[], None]:
        """Show demand from now on; call the returned function once to end it."""
        key = demand_key(node, stream, rendition, consumer)
        if key not in self._keys:
            self._new.add(key)
        self._keys[key] = self._keys.get(key, 0) + 1
        self._poke.set()
        released = False

        def release() -> None:
            nonlocal released
            if released:
                return
            released = True
            self._keys[key] -= 1
            if not self._keys[key]:
                del self._keys[key]
                self._gone.add(key)
                self._poke.set()

        return release

    async def close(self) -> None:
        """Withdraw everything."""
        self._forget_hook()
        # Told as well as cancelled: nats-py's requests use `wait_for`, which in Python 3.11 swallows a cancellation
        # that comes together with the reply.
        self._closing = True
        self._poke.set()
        await end_tasks(self._task)
        self._gone.update(self._keys)
        self._keys.clear()
        if not self._bus.connected:
            return
        # Best effort: what cannot be withdrawn lapses by itself.
        with contextlib.suppress(TimeoutError, MeshError):
            async with asyncio.timeout(1):
                await self._put_all()

    async def _refresh(self) -> None:
        while not self._closing:
            self._poke.clear()
            if self._bus.connected:
                try:
                    await self._put_all()
                except MeshError as error:
                    log.debug("demand: %s", error)
            await set_within(self._poke, _REFRESH_SECONDS)

    async def _put_all(self) -> None:
        bucket = await self._bus.bucket(DEMAND_BUCKET)
        await self._put_new(bucket)
        while self._gone:
            key = self._gone.pop()
            if key not in self._keys:
                await bucket.delete(key)
        for key in tuple(self._keys):
            await self._put_new(bucket)
            await bucket.put(key, b"")

    async def _put_new(self, bucket: Bucket) -> None:
        """Somebody waits for what is new; what was told before is repeated, and has time."""
        while self._new:
            key = self._new.pop()
            if key in self._keys:
                await bucket.put(key, b"")


class DemandBoard:
    """What others need from this node. `on_change` is called in the event loop when consumers come or go."""

    def __init__(self, bus: "Bus", bucket: "Bucket", node: str, on_change: Callable[[], None]) -> None:
        self._bus, self._bucket = bus, bucket
        self._node = node
        self._on_change = on_change
        self._seen_seconds: dict[str, float] = {}
        self._reconnected_seconds = float("-inf")
        self._forget_hook = bus.on_reconnect(self._reconnected)
        self._mirror = Mirror(bucket, f"{node}.>", self._changed)
        self._expiry = start_task(self._expire(), "demand-expiry")

    @classmethod
    async def open(cls, bus: "Bus", node: str, on_change: Callable[[], None]) -> Self:
        """A board that already knows the demand of this moment."""
        bucket = await bus.bucket(DEMAND_BUCKET)
        board = cls(bus, bucket, node, on_change)
        await board._mirror.synced()
        return board

    def consumers(self, stream: str, rendition: str) -> list[str]:
        """Names of those who need `rendition` of `stream` now."""
        prefix = f"{self._node}.{stream}.{rendition}."
        return [key.removeprefix(prefix) for key in self._seen_seconds if key.startswith(prefix)]

    def wanted(self, stream: str, rendition: str) -> bool:
        return bool(self.consumers(stream, rendition))

    def renditions(self, stream: str) -> frozenset[str]:
        """All of a stream that somebody needs now, `RAW` among them."""
        prefix = f"{self._node}.{stream}."
        return frozenset(key.split(".")[2] for key in self._seen_seconds if key.startswith(prefix))

    async def close(self) -> None:
        self._forget_hook()
        await end_tasks(self._expiry)
        await self._mirror.close()

    def _changed(self, key: str, entry: "Entry | None") -> None:
        if entry is not None:
            known = key in self._seen_seconds
            self._seen_seconds[key] = time.monotonic()
            if not known:
                self._on_change()
            return
        # Withdrawn. But right after a reconnect a missing key only means that the bus lost its memory: the consumer
        # has a TTL's time to say it again.
        settled = time.monotonic() - self._reconnected_seconds > DEMAND_TTL_SECONDS
        if settled and self._seen_seconds.pop(key, None) is not None:
            self._on_change()

    def _reconnected(self) -> None:
        now = self._reconnected_seconds = time.monotonic()
        for key in self._seen_seconds:
            self._seen_seconds[key] = now

    def _lapsed(self) -> list[str]:
        old = time.monotonic() - DEMAND_TTL_SECONDS
        return [key for key, seen in self._seen_seconds.items() if seen < old]

    async def _expire(self) -> None:
        silent = False
        while True:
            await asyncio.sleep(_EXPIRY_CHECK_SECONDS)
            if not self._bus.connected or not self._lapsed():
                continue
            if not await self._heard():  # a server that hangs keeps the consumers' word from us
                silent = True
                continue
            if silent:
                silent = False
                self._reconnected()
                continue
            # What the server had not passed on when it answered has the time of one more check.
            await asyncio.sleep(_EXPIRY_CHECK_SECONDS)
            if lapsed := self._lapsed():
                if not await self._heard():
                    silent = True
                    continue
                lapsed = self._lapsed()
                for key in lapsed:
                    del self._seen_seconds[key]
                self._on_change()

    async def _heard(self) -> bool:
        """Whether the consumers' word could come to us. In a cluster our server may answer while the one that keeps it,
        or the one that passes it on, is lost: there what is written is looked at, and counts as heard."""
        if not self._bus.clustered:
            return await self._bus.answers()
        try:
            there = await self._bucket.entries(f"{self._node}.>")
        except MeshError as error:
            log.debug("demand: %s", error)
            return False
        now = time.monotonic()
        self._seen_seconds.update((key, now) for key in self._seen_seconds.keys() & there.keys())
        return True

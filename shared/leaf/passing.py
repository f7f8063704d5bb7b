"""What lapses unless it is written again: passed on over the link as it comes, and never caught up with."""

import asyncio
import logging
from collections.abc import Callable

from schemas.errors import MeshError
from shared.bus import Bucket, Change, Follower
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)


class Passing:
    """Passes writes of one bucket on in both directions until closed; of each key the newest that waits."""

    def __init__(self, hub: Bucket, leaf: Bucket, outward: Callable[[str], bool], hub_keys: str = ">") -> None:
        """`outward`: whether a key is told to the hub; else it comes from there. `hub_keys`: those of the hub that can
        concern this host."""
        self._outwards = _Line(hub, outward)
        self._inwards = _Line(leaf, lambda key: not outward(key))
        # What a restarted server has lost is not told of: it was not taken back, and comes again by itself.
        self.there = Follower(hub, hub_keys, self._inwards.put, _nothing)
        self._here = Follower(leaf, ">", self._outwards.put, _nothing)

    async def close(self) -> None:
        await asyncio.gather(self.there.close(), self._here.close())
        await asyncio.gather(self._outwards.close(), self._inwards.close())


class _Line:
    """To one bucket. What waits is bounded by the number of keys."""

    def __init__(self, bucket: Bucket, belongs: Callable[[str], bool]) -> None:
        self._bucket, self._belongs = bucket, belongs
        self._waiting: dict[str, bytes | None] = {}
        self._filled = asyncio.Event()
        self._task = start_task(self._run(), f"pass to {bucket.name}")

    def put(self, change: Change) -> None:
        if self._belongs(change.key):
            self._waiting[change.key] = change.value
            self._filled.set()

    async def close(self) -> None:
        await end_tasks(self._task)

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            waiting, self._waiting = self._waiting, {}
            for key, value in waiting.items():
                try:
                    if value is None:
                        await self._bucket.delete(key)
                    else:
                        await self._bucket.put(key, value)
                except MeshError as error:  # the hub is away: it is written again in a moment, or lapses there
                    log.debug("%s not passed on: %s", key, error)


def _nothing() -> None:
    """Everything there is follows."""

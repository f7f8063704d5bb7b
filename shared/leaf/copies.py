"""The leaf's copy of a bucket of the hub, made the same again and again."""

import asyncio
import logging

from schemas.errors import Conflict, MeshError, Unavailable
from shared.bus import Bucket, Mirror
from shared.bus.hub import wrapped
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0


class Copy:
    """Follows a bucket of the hub until it is closed. While the hub is away the copy stays as it is.

    JetStream's own mirrors keep revisions as they are, which this has to write down; but after a cut of 12 s one was
    seen to be up to date 38 s after the link, for they look again at times that grow to two minutes, and cannot be told
    to look now.
    """

    def __init__(self, hub: Bucket, copy: Bucket) -> None:
        """`copy`: as a plain bucket of the leaf."""
        self._copy = copy
        self._poke = asyncio.Event()
        self.there = Mirror(hub, on_change=lambda *_: self._poke.set())
        self._here = Mirror(copy, on_change=lambda *_: self._poke.set())
        self._task = start_task(self._run(), f"copy {hub.name}")

    async def close(self) -> None:
        await end_tasks(self._task)
        await asyncio.gather(self.there.close(), self._here.close())

    async def _run(self) -> None:
        await listed(self._here)
        await listed(self.there)  # what has not been listed is not empty
        while True:
            self._poke.clear()
            try:
                await self._make_same()
            except MeshError as error:
                log.debug("copy of %s: %s", self._copy.name, error)
                await set_within(self._poke, AGAIN_SECONDS)
            else:
                await self._poke.wait()

    async def _make_same(self) -> None:
        there, here = self.there.entries, self._here.entries
        for key in there.keys() | here.keys():
            original, copied = there.get(key), here.get(key)
            try:
                if original is None and copied is not None:
                    await self._copy.purge(key, copied.revision)
                elif original is not None and (copied is None or copied.value != wrapped(original)):
                    await self._copy.update(key, wrapped(original), copied.revision if copied else 0)
            except Conflict:  # our own word of a moment ago, which the mirror has not heard yet
                continue


async def listed(mirror: Mirror) -> None:
    """Wait until a mirror knows what there is, however long the hub is away."""
    while True:
        try:
            await mirror.synced()
        except Unavailable:
            continue
        return

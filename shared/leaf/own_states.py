"""What is, on this host and elsewhere: each side tells the other what it alone knows.

On both sides lies the whole: a state whose `node` is this one comes from here, every other one from the hub.
"""

import asyncio
import logging
import time

import msgspec

from schemas.errors import Conflict, MeshError
from schemas.packets import UNREADABLE
from shared.bus import Bucket, Entry, Mirror
from shared.leaf.copies import AGAIN_SECONDS, listed
from shared.tasks import end_tasks, set_within, start_task

log = logging.getLogger(__name__)

_ON_ITS_WAY_SECONDS = 5.0  # what the hub has taken comes back over the link; later it was lost there


class _Reported(msgspec.Struct, frozen=True):
    """What all states have in common."""

    node: str = ""
    revision: int = 0


_decoder = msgspec.json.Decoder(_Reported)
_UNREADABLE = _Reported()


class OwnStates:
    """Keeps `mesh_actual` of the leaf and of the hub in step until closed; nothing is lost while the hub is away."""

    def __init__(self, node: str, hub: Bucket, leaf: Bucket) -> None:
        self._node = node
        self._hub, self._leaf = hub, leaf
        self._poke = asyncio.Event()
        self.there = Mirror(hub, on_change=lambda *_: self._poke.set())
        self._here = Mirror(leaf, on_change=lambda *_: self._poke.set())
        self._taken: dict[str, tuple[int, float]] = {}
        """The hub's revision of what it was told last, and when, by key."""
        self._task = start_task(self._run(), f"own states in {leaf.name}")

    async def close(self) -> None:
        await end_tasks(self._task)
        await asyncio.gather(self.there.close(), self._here.close())

    async def _run(self) -> None:
        await listed(self._here)
        await listed(self.there)
        while True:
            self._poke.clear()
            try:
                for key in self.there.entries.keys() | self._here.entries.keys():
                    await self._settle(key)
            except MeshError as error:
                log.debug("states: %s", error)
                await set_within(self._poke, AGAIN_SECONDS)
            else:
                await self._poke.wait()

    async def _settle(self, key: str) -> None:
        there, here = self.there.entries.get(key), self._here.entries.get(key)
        said_there, said_here = _read(there), _read(here)
        try:
            if here is not None and said_here.node == self._node:
                # A stream that went to another host: there it is of a later revision, and ours is about to end.
                ours = said_there.node == self._node or said_here.revision >= said_there.revision
                if there is None or (there.value != here.value and ours):
                    await self._tell_hub(key, here, there)
            elif there is not None and said_there.node != self._node:
                if here is None or here.value != there.value:
                    await self._leaf.update(key, there.value, here.revision if here else 0)
            elif there is not None:  # ours, of which nothing is left
                await self._hub.delete(key, there.revision)
            elif here is not None:
                await self._leaf.delete(key, here.revision)
        except Conflict:  # written a moment ago; the mirror will say so
            return

    async def _tell_hub(self, key: str, here: Entry, there: Entry | None) -> None:
        taken, when = self._taken.get(key, (0, 0.0))
        on_its_way = time.monotonic() - when < _ON_ITS_WAY_SECONDS
        if on_its_way and here.revision == taken:
            return
        await self._hub.put(key, here.value)
        self._taken[key] = here.revision, time.monotonic()


def _read(entry: Entry | None) -> _Reported:
    if entry is None:
        return _UNREADABLE
    try:
        return _decoder.decode(entry.value)
    except UNREADABLE:
        return _UNREADABLE

"""Which node keeps a task going: one at a time, and another one when that is gone."""

import contextlib
import logging
import time
from typing import Final

from schemas.buckets import MIX_LEASE_TTL_SECONDS
from schemas.errors import Conflict, MeshError
from schemas.subjects import MIX_LEASES_BUCKET, mix_lease_key
from shared.bus import Bucket, Bus

log = logging.getLogger(__name__)

"""A node that says nothing for so long has lost its tasks to another."""
_RENEW_SECONDS: Final = 2.0


class Leases:
    """Those of one node. A service that is started again has those of the one before: of a node there is only one."""

    def __init__(self, bucket: Bucket, node: str) -> None:
        self._bucket, self._node = bucket, node
        self._held: dict[str, tuple[int, float]] = {}
        """(revision, when it was written) by task."""

    @classmethod
    async def open(cls, bus: Bus, node: str) -> "Leases":
        # In a file: after a restart of the server each still knows whose it was.
        return cls(await bus.bucket(MIX_LEASES_BUCKET), node)

    def holds(self, task: str) -> bool:
        """Whether this node still has it, as far as it knows."""
        held = self._held.get(task)
        return held is not None and time.monotonic() - held[1] < MIX_LEASE_TTL_SECONDS

    async def hold(self, task: str) -> bool:
        """Take the lease or keep it; False when another node has it. Call it more often than every 2 s or so."""
        held = self._held.get(task)
        now = time.monotonic()
        if held is not None and now - held[1] < _RENEW_SECONDS:
            return True
        key = mix_lease_key(task)
        try:
            if held is not None:
                with contextlib.suppress(Conflict):  # its time was over; or the answer to our last word was lost
                    self._held[task] = (await self._bucket.update(key, self._node.encode(), held[0]), now)
                    return True
            entry = await self._bucket.get(key)
            if entry is not None and entry.value.decode() != self._node:
                self._held.pop(task, None)
                return False
            known = entry.revision if entry else 0
            self._held[task] = (await self._bucket.update(key, self._node.encode(), known), now)
        except Conflict:
            self._held.pop(task, None)
            return False
        except MeshError as error:
            log.debug("lease of %s: %s", task, error)
            return self.holds(task)
        return True

    async def renew(self, task: str) -> bool:
        """Keep what is held; False when another node has it now. What was released stays so."""
        return task not in self._held or await self.hold(task)

    async def release(self, task: str) -> None:
        """It is done."""
        held = self._held.pop(task, None)
        if held is None:
            return
        try:
            await self._bucket.delete(mix_lease_key(task), held[0])
        except MeshError as error:  # it lapses by itself
            log.debug("lease of %s: %s", task, error)

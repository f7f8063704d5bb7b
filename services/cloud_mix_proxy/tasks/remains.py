"""What a cloud may still have of a task that is mixed here by now, or has ended: taken away once the cloud answers."""

import asyncio
import logging
import time
from typing import Any, Final

from msgspec.structs import replace

from schemas.errors import MeshError
from schemas.mix_tasks import TaskRecord
from services.cloud_mix_proxy.tasks.place import Place
from services.cloud_mix_proxy.tasks.records import Records
from shared.service import Context

log = logging.getLogger(__name__)

GIVE_UP_SECONDS: Final = 3_600.0
"""What a cloud that is away for longer still mixes, its sources or its own limit end."""
_AGAIN_SECONDS: Final = 10.0  # a cloud is asked then, which tells nobody that it is back


class Remains:
    """Of one node's tasks, each on its own: a cloud that does not answer must not hold up what is mixed here."""

    def __init__(self, context: Context[Any], records: Records, cloud: Place) -> None:
        self._context, self._records, self._cloud = context, records, cloud
        self._at: dict[str, asyncio.Task[Any]] = {}

    def see_to(self, record: TaskRecord) -> None:
        """Begin, unless that is done already."""
        if record.task not in self._at:
            name = f"what a cloud has of task {record.task}"
            self._at[record.task] = self._context.spawn(self._take_away(record), name)

    def leave(self, task: str) -> None:
        """Another node sees to it, or nothing is left."""
        if (work := self._at.pop(task, None)) is not None:
            work.cancel()

    async def _take_away(self, record: TaskRecord) -> None:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        gone = False
        while True:
            try:
                gone = gone or await self._cloud.end(record)
                if gone:
                    await self._records.change(record.task, lambda one: replace(one, cloud_left=False))
                    return
            except MeshError as error:
                log.debug("task %s: %s", record.task, error)
                if time.monotonic() > deadline and not gone:
                    log.warning("task %s: %s; what the cloud may have of it is left there", record.task, error)
                    gone = True
            await asyncio.sleep(_AGAIN_SECONDS)

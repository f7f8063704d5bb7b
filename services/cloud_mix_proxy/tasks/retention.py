"""Forgets tasks: of those that are done what was secret first, a week later all; of those never made what they left."""

import asyncio
import contextlib
import time
from typing import Final

from msgspec.structs import replace

from schemas.errors import MeshError
from schemas.units import NS_PER_SECOND
from services.cloud_mix_proxy.tasks import full_rules
from services.cloud_mix_proxy.tasks.records import Known, Records
from shared.bus import Bus

KEPT_SECONDS: Final = 7 * 86_400.0
"""A task that is done is known for so long."""
_SECRET_SECONDS: Final = 900.0  # callbacks are tried for ten minutes, and need their address
_LOOK_SECONDS: Final = 600.0


async def forget_old(bus: Bus, records: Records) -> None:
    """For the life of the service. Of all instances each does it; what one has removed the others do not find."""
    while True:
        with contextlib.suppress(MeshError):  # not known, as the hub is away
            for known in records.all():
                if known.record.status == "done":
                    with contextlib.suppress(MeshError):  # at the next look
                        await forget_one(bus, records, known, time.time_ns())
        with contextlib.suppress(MeshError):
            await records.names.sweep(time.time_ns())
        await asyncio.sleep(_LOOK_SECONDS)


async def forget_one(bus: Bus, records: Records, known: Known, now_ns: int) -> None:
    """What is due of one that is done; `now_ns` of CLOCK_REALTIME.

    Raises:
        MeshError: it could not be done now.
    """
    done_seconds = (now_ns - known.record.stopped_ns) / NS_PER_SECOND
    if done_seconds > _SECRET_SECONDS:
        await full_rules.forget(bus, known.record)
    if done_seconds > KEPT_SECONDS:
        await full_rules.forget_task(bus, known.record.task)  # of an update that was refused the record tells nothing
        await records.forget(known)
    elif done_seconds > _SECRET_SECONDS and known.record.rules_secret:
        await records.change(known.record.task, lambda one: replace(one, rules_secret=""))

"""Taking away what a program has made in the mesh, also where the first answer is lost."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from schemas.errors import MeshError, NotFound, Unavailable
from shared.backoff import Backoff

log = logging.getLogger(__name__)

_GIVE_UP_SECONDS: Final = 5.0  # a bus or a service that restarts is back by then


async def take_away(what: str, stop: Callable[[], Awaitable[object]]) -> None:
    """Ask with `stop` until it is gone; what stays all the same is told in the log, and the rest is taken away."""
    backoff = Backoff()
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while True:
        try:
            await stop()
            return
        except NotFound:
            return
        except MeshError as error:
            if not isinstance(error, Unavailable) or time.monotonic() > deadline:
                log.warning("%s stays in the mesh: %s", what, error)
                return
        await asyncio.sleep(backoff.next_seconds())

"""Background tasks whose failure is never silence, and waits that can be cancelled."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


def start_task(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A task that says so in the log when it fails. Keep the reference: the event loop does not."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


async def set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until `event` is set; False when the time is over first.

    Not `asyncio.wait_for`: in Python 3.11 it swallows a cancellation that comes together with the event.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _ended(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("background task %s failed", task.get_name(), exc_info=error)

"""Background tasks whose failure is never silence."""

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


def _ended(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("background task %s failed", task.get_name(), exc_info=error)

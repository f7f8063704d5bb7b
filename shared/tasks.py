"""Background tasks whose failure is never silence, and waits that can be cancelled."""

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

_CANCEL_AGAIN_SECONDS = 1.2  # what tasks do at their end takes 1 s at most, and shall not be cut short


def start_task(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A task that says so in the log when it fails. Keep the reference: the event loop does not."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended.

    Again and again: `asyncio.wait_for` in Python 3.11, which nats-py waits with, swallows a cancellation that comes
    together with what it waits for.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)


async def set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until `event` is set; False when the time is over first.

    Not `asyncio.wait_for`: in Python 3.11 it swallows a cancellation that comes together with the event. Others have
    their turn also when it is set already: a loop that has forgotten to clear it must not be all that happens.
    """
    if event.is_set():
        await asyncio.sleep(0)
        return True
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _ended(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("background task %s failed", task.get_name(), exc_info=error)


def tell_untold(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's handler of errors that nobody waits for.

    Says nothing of a name that was not found: who asked has gone on when its deadline was over, and uvloop leaves the
    look-up behind, once for each try while a server and so its name is away.
    """
    if "future" in context and isinstance(context.get("exception"), socket.gaierror):
        return
    loop.default_exception_handler(context)

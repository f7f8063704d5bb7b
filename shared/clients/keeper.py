"""Closes what iterators hold in the mesh, also when an application just drops them, as `break` does."""

import asyncio
import contextlib
from typing import Protocol


class Closable(Protocol):
    async def close(self) -> None: ...


class Keeper:
    """One per connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: set[Closable] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def add(self, item: Closable) -> None:
        self._open.add(item)

    async def close(self, item: Closable) -> None:
        self._open.discard(item)
        await item.close()

    def drop(self, item: Closable) -> None:
        """Close it a little later; may be called by a finalizer, in any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the connection with it
            self._loop.call_soon_threadsafe(self._close_soon, item)

    def _close_soon(self, item: Closable) -> None:
        task = self._loop.create_task(self.close(item))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close_all(self) -> None:
        await asyncio.gather(*(item.close() for item in self._open), *self._closing)
        self._open.clear()

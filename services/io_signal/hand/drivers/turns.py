"""One at a time on a line that carries one exchange at a time, and commands before polls."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Turns:
    """A lock with two queues: whoever switches an output does not stand behind those who only look."""

    def __init__(self) -> None:
        self._taken = False
        self._commands: deque[asyncio.Future[None]] = deque()
        self._polls: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, command: bool) -> AsyncIterator[None]:
        """Wait for it; in order among commands, and among polls. Its waiters are as many as there are signals and
        inputs of the line, each of which has one exchange at a time."""
        if self._taken:
            await self._wait(self._commands if command else self._polls)
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        mine = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            with suppress(ValueError):
                queue.remove(mine)
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it was given to one who wants it no more
            raise

    def _pass_on(self) -> None:
        for queue in (self._commands, self._polls):
            while queue:
                following = queue.popleft()
                if not following.done():
                    following.set_result(None)  # still taken: nobody comes in between
                    return
        self._taken = False

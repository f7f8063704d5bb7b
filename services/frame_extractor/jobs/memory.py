"""Memory for several jobs at once: each gets what it is reckoned to need, or waits."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

# The interpreter, libav and the pictures on their way to a file.
_PROCESS_BYTES = 128 << 20
# References of H.264 and HEVC (16), those on their way, and one that is written; each with 1.5 bytes a pixel.
_PICTURES = 22
_BYTES_PER_PIXEL = 1.5


def needed_bytes(width: int, height: int, threads: int) -> int:
    """What a job with pictures of that size is reckoned to take; 4K in two threads 0.7 GB, where 0.42 were measured."""
    return _PROCESS_BYTES + int(width * height * _BYTES_PER_PIXEL * _PICTURES * threads)


class MemoryBudget:
    """So many bytes, given out in the order in which they are asked for."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def share(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for memory and hold it. Who wants more than there is gets all of it: it runs alone."""
        size = min(size_bytes, self.total_bytes)
        if self._waiting or self.used_bytes + size > self.total_bytes:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._free(size)
                else:
                    with contextlib.suppress(ValueError):  # whoever freed memory meanwhile has passed over it
                        self._waiting.remove((size, turn))
                    self._serve()
                raise
        else:
            self.used_bytes += size
        try:
            yield
        finally:
            self._free(size)

    def _free(self, size: int) -> None:
        self.used_bytes -= size
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self.used_bytes + self._waiting[0][0] <= self.total_bytes:
            size, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.used_bytes += size
                turn.set_result(None)

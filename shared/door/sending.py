"""How long an answer may take on the wire, and what a slow reader holds of it."""

import asyncio
import contextlib
import logging
import socket
from typing import Any, Final

from aiohttp import web

logger = logging.getLogger(__name__)

# Whoever takes no byte for so long has gone, or holds memory on purpose.
_STALLED_MS: Final = 30_000
# An answer has so long, and as much more as its size needs at 2 Mbit/s: whoever is slower sees no live picture. A
# segment that is old already stays in memory for those who are still being sent it.
ANSWER_SECONDS: Final = 20.0
_LEAST_BYTES_PER_SECOND: Final = 256 * 1024
PIECE_BYTES: Final = 128 * 1024  # more than the transport takes before it makes us wait


class PiecewiseResponse(web.StreamResponse):
    """Bytes that go in pieces, each when the one before it is on its way: a slow reader holds no copy of the whole."""

    def __init__(self, data: bytes | memoryview, content_type: str, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self.content_type, self.content_length = content_type, len(data)
        self._data: memoryview | None = memoryview(data)

    async def prepare(self, request: web.BaseRequest) -> Any:
        if request.method == "HEAD":
            self._data = None
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        rest, self._data = self._data, None
        while rest:
            await self.write(rest[:PIECE_BYTES])
            rest = rest[PIECE_BYTES:]
        await super().write_eof(data)


async def send(request: web.Request, response: web.Response | PiecewiseResponse) -> None:
    """Hand the answer to the transport; cut off whoever does not take it in time."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):  # it has gone already
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    size = response.content_length or 0
    seconds = ANSWER_SECONDS + size / _LEAST_BYTES_PER_SECOND
    try:
        async with asyncio.timeout(seconds):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        logger.info("an answer of %d bytes was not taken within %.0f s", size, seconds)
        transport.abort()
    except ConnectionError:
        pass  # whoever asked has gone; the library finds the same when it comes to end the answer

"""What every request must be before anything looks into it, and how long its answer may take on the wire."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from schemas.errors import BadRequest, TooMany
from services.webrtc_gateway.signalling.whep import refusal, refused
from shared.door.expectation import CONTINUE

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What is hashed, compared or said again, here and in the library, must be text; other bytes come as halves of
# characters. Programs' names and other services' cookies may be anything.
_ANY_BYTES: Final = frozenset({"cookie", "user-agent"})
# Whoever takes no byte for so long has gone, or holds memory on purpose.
_STALLED_MS: Final = 30_000
# An answer has so long, and as much more as its size needs at 2 Mbit/s: whoever is slower sees no live picture. A
# segment that is old already stays in memory for those who are still being sent it.
ANSWER_SECONDS: Final = 20.0
_LEAST_BYTES_PER_SECOND: Final = 256 * 1024
_PIECE_BYTES: Final = 128 * 1024  # more than the transport takes before it makes us wait
MAX_LARGE_ANSWERS: Final = 1_024
"""Of more than one piece, being sent at once: each holds a piece or two in the transport."""


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
            await self.write(rest[:_PIECE_BYTES])
            rest = rest[_PIECE_BYTES:]
        await super().write_eof(data)


class Exchange:
    """Between the socket and every handler of one door."""

    def __init__(self) -> None:
        self._large = 0

    async def answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of `handler`, sent; 400, 404 and 417 for what no handler can answer."""
        if any(name.lower() == b"expect" and value.lower() != CONTINUE for name, value in request.raw_headers):
            return refusal(417, "header Expect: nothing but 100-continue is known here; leave it out")
        for name, value in request.headers.items():
            if not value.isascii() and name.lower() not in _ANY_BYTES:
                return refused(BadRequest(f"header {name}: it has characters that are not ASCII; leave them out"))
        try:
            response = await handler(request)
        except web.RequestPayloadError:
            return refused(BadRequest("the body is cut short, or not encoded as its headers say; send it as it is"))
        except OSError as error:
            if request.transport is None or request.transport.is_closing():
                return refusal(400, "whoever asked has gone")  # told to nobody, but no fault of ours either
            if error.errno != errno.ENAMETOOLONG:
                raise
            return refusal(404, "nothing here has so long a name")
        if not isinstance(response, web.Response | PiecewiseResponse):
            return response  # a file or a socket, which is sent already or sends by itself
        large = (response.content_length or 0) > _PIECE_BYTES
        if large and self._large >= MAX_LARGE_ANSWERS:
            return refused(TooMany(f"{MAX_LARGE_ANSWERS} large answers are being sent; try again in a moment"))
        self._large += large
        try:
            await _send(request, response)
        finally:
            self._large -= large
        return response


async def _send(request: web.Request, response: web.Response | PiecewiseResponse) -> None:
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

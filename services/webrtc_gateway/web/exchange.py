"""What every request must be before anything looks into it."""

import errno
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from schemas.errors import BadRequest, TooMany
from services.webrtc_gateway.signalling.whep import refusal, refused
from shared.door.expectation import CONTINUE
from shared.door.sending import PIECE_BYTES, PiecewiseResponse, send

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What is hashed, compared or said again, here and in the library, must be text; other bytes come as halves of
# characters. Programs' names and other services' cookies may be anything.
_ANY_BYTES: Final = frozenset({"cookie", "user-agent"})
MAX_LARGE_ANSWERS: Final = 1_024
"""Of more than one piece, being sent at once: each holds a piece or two in the transport."""


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
        large = (response.content_length or 0) > PIECE_BYTES
        if large and self._large >= MAX_LARGE_ANSWERS:
            return refused(TooMany(f"{MAX_LARGE_ANSWERS} large answers are being sent; try again in a moment"))
        self._large += large
        try:
            await send(request, response)
        finally:
            self._large -= large
        return response

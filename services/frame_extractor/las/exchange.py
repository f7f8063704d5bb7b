"""Around every request: its id, what it must be before anything looks into it, errors as the API has them."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from schemas.errors import MeshError
from services.frame_extractor.las.answers import REQUEST_ID, new_request_id, refused
from services.frame_extractor.las.failures import (
    EXPECTATION,
    INTERNAL,
    NO_SUCH_METHOD,
    NO_SUCH_PATH,
    PARAMETER_INVALID,
    Failure,
    Refused,
    refusal_of,
)
from shared.door.expectation import CONTINUE
from shared.door.sending import PiecewiseResponse, send

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ANY_BYTES: Final = frozenset({"cookie", "user-agent"})
_NO_ROUTE: Final[dict[int, Failure]] = {404: NO_SUCH_PATH, 405: NO_SUCH_METHOD}
# Nothing that is answered here is a page; a picture that a browser shows runs nothing either.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Exchange:
    """Between the socket and every handler of the door."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        """By HTTP status."""

    def turned_away(self) -> None:
        """A connection beyond those that its address may have was answered without a look at what it asks for."""
        self.answers["429"] += 1

    def middleware(self) -> Middleware:
        @web.middleware
        async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await self._answer(request, handler)
            self.answers[str(response.status)] += 1
            # What is large has been sent by those who count how much of it there is at once.
            if isinstance(response, web.Response | PiecewiseResponse) and not response.prepared:
                await send(request, response)
            return response

        return answered

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
        response.headers.setdefault("Cache-Control", "no-store")

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request[REQUEST_ID] = new_request_id()
        try:
            _check_headers(request)
            return await handler(request)
        except Refused as error:
            return refused(error, request_id)
        except MeshError as error:
            refusal = refusal_of(error)
            if refusal.failure is INTERNAL:
                logger.warning("request %s: %s", request_id, error.message)
            return refused(refusal, request_id)
        except web.HTTPException as error:
            failure = _NO_ROUTE.get(error.status, PARAMETER_INVALID)
            response = refused(Refused(failure, f"{request.method} {request.path[:80]}"), request_id)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except Exception:
            # A bug of ours: whoever asks gets the id, whoever runs this the rest.
            if request.transport is not None and not request.transport.is_closing():
                logger.exception("request %s failed", request_id)
            return refused(Refused(INTERNAL), request_id)


def _check_headers(request: web.Request) -> None:
    if any(name.lower() == b"expect" and value.lower() != CONTINUE for name, value in request.raw_headers):
        raise Refused(EXPECTATION, "header Expect: nothing but 100-continue is known here; leave it out")
    for name, value in request.headers.items():
        if not value.isascii() and name.lower() not in _ANY_BYTES:
            raise Refused(PARAMETER_INVALID, f"header {name}: leave out characters that are not ASCII")

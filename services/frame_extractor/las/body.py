"""The body of a request: how long it may be, and what is said of one that is not taken."""

from typing import Any, Final

from aiohttp import web

from services.frame_extractor.las.failures import ENCODED, PARAMETER_INVALID, TOO_LARGE, TOO_SLOW, Failure, Refused
from shared.door import body
from shared.door.body import BODY_SECONDS, BodyRefused, Fault

MAX_BODY_BYTES: Final = 64 * 1024
"""Two of the longest URLs and paths, eight times over."""
_FAILURES: Final[dict[Fault, Failure]] = {
    "encoded": ENCODED,
    "too-large": TOO_LARGE,
    "too-slow": TOO_SLOW,
    "malformed": PARAMETER_INVALID,
}


async def read_body(request: web.Request, seconds: float = BODY_SECONDS) -> bytes:
    """Raises:
    Refused: it is too long, too slow, packed, or ends before its end.
    """
    try:
        return await body.read_body(request, MAX_BODY_BYTES, seconds)
    except BodyRefused as refused:
        raise Refused(_FAILURES[refused.fault], refused.message) from None


def parse_body(data: bytes) -> dict[str, Any]:
    """The object that a body holds.

    Raises:
        Refused: not JSON (RFC 8259), not an object, a name twice in one object, numbers beyond 64 bits.
    """
    try:
        return body.parse_object(data)
    except BodyRefused as refused:
        raise Refused(_FAILURES[refused.fault], refused.message) from None

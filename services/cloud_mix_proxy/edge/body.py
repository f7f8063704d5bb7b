"""The body of a request: how long it may be, and what is said of one that is not taken."""

from typing import Any, Final

from aiohttp import web

from services.cloud_mix_proxy.edge.refusal import INVALID, Refusal
from shared.door import body
from shared.door.body import BODY_SECONDS, BodyRefused, Fault

MAX_BODY_BYTES: Final = 256 * 1024
"""Twenty of the longest addresses and eight of the longest ids, with room for those who escape them."""
_CODES: Final[dict[Fault, str]] = {
    "encoded": "UnsupportedEncoding",
    "too-large": "RequestTooLarge",
    "too-slow": "RequestTimeout",
    "malformed": INVALID,
}


async def read_body(request: web.Request, seconds: float = BODY_SECONDS) -> bytes:
    """Raises:
    Refusal: it is too long, too slow, packed, or ends before its end.
    """
    try:
        return await body.read_body(request, MAX_BODY_BYTES, seconds)
    except BodyRefused as refused:
        raise Refusal(_CODES[refused.fault], refused.message) from None


def parse_body(data: bytes) -> dict[str, Any]:
    """The object that a body holds, without what is null in it.

    Raises:
        Refusal: not JSON (RFC 8259), not an object, a name twice in one object, numbers beyond 64 bits.
    """
    try:
        return body.parse_object(data, nulls=False)
    except BodyRefused as refused:
        raise Refusal(_CODES[refused.fault], refused.message) from None

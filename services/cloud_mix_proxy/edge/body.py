"""The body of a request, read within bounds and taken for JSON that means one thing only."""

import asyncio
import json
from typing import Any, Final

import msgspec
from aiohttp import web

from services.cloud_mix_proxy.edge.refusal import INVALID, Refusal

MAX_BODY_BYTES: Final = 256 * 1024
"""Twenty of the longest addresses and eight of the longest ids, with room for those who escape them."""
_LARGEST_NUMBER: Final = 2**63 - 1
BODY_SECONDS: Final = 10.0
"""A body of a kilobyte is one packet; whoever takes longer holds a place on purpose."""


async def read_body(request: web.Request, seconds: float = BODY_SECONDS) -> bytes:
    """Raises:
    Refusal: it is too long, too slow, packed, or ends before its end.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("UnsupportedEncoding", "header Content-Encoding: send the body as it is")
    too_large = Refusal("RequestTooLarge", f"the body is longer than {MAX_BODY_BYTES} bytes")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise Refusal("RequestTimeout", f"the body was not here within {seconds:g} s") from None
    except web.RequestPayloadError:
        raise Refusal(INVALID, "the body is cut short, or not what its headers say") from None
    return bytes(data)


def parse_body(data: bytes) -> dict[str, Any]:
    """The object that a body holds, without what is null in it.

    Raises:
        Refusal: not JSON (RFC 8259), not an object, a name twice in one object, numbers beyond 64 bits.
    """
    try:
        msgspec.json.decode(data)  # stricter than the library that tells of names given twice
        value = json.loads(data, object_pairs_hook=_once, parse_int=_whole)
    except msgspec.ValidationError as error:
        raise Refusal(INVALID, f"the body: {str(error).partition(' - at')[0].lower()}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(INVALID, "the body is not JSON in UTF-8; send an object") from None
    except (RecursionError, ValueError):
        raise Refusal(INVALID, "the body: brackets in brackets without end, or numbers of any length") from None
    if not isinstance(value, dict):
        raise Refusal(INVALID, "the body is not a JSON object")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if abs(value) > _LARGEST_NUMBER:
        raise Refusal(INVALID, f"the body: {text[:24]} is beyond 64 bits")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that is given twice nobody knows which one is meant, and others may take the other one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(INVALID, f"the body: {twice[:64]!r} is given more than once in one object")
    return {name: item for name, item in found.items() if item is not None}

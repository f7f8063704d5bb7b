"""The body of a request, read within bounds and taken for JSON that means one thing only."""

import asyncio
import json
from collections import Counter
from functools import partial
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

BODY_SECONDS: Final = 10.0
"""A body of a kilobyte is one packet; whoever takes longer holds a place on purpose."""
_NUMBER_END: Final = 2**63
_SHOWN_CHARACTERS: Final = 64  # of a name that nobody here knows
_SHOWN_DIGITS: Final = 24
Fault = Literal["encoded", "too-large", "too-slow", "malformed"]


class BodyRefused(ValueError):
    """Why a body is not taken; each API has its own code for the `fault`."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault
        self.message = message


async def read_body(request: web.Request, max_bytes: int, seconds: float = BODY_SECONDS) -> bytes:
    """All of it.

    Raises:
        BodyRefused: it is too long, too slow, packed, or ends before its end.
    """
    # All of them: the library unpacks by the last one.
    if any(given.lower() != "identity" for given in request.headers.getall("Content-Encoding", [])):
        raise BodyRefused("encoded", "header Content-Encoding: send the body as it is")
    too_large = BodyRefused("too-large", f"the body is longer than {max_bytes} bytes")
    if (request.content_length or 0) > max_bytes:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise BodyRefused("too-slow", f"the body was not here within {seconds:g} s") from None
    except web.RequestPayloadError:
        raise BodyRefused("malformed", "the body is cut short, or not what its headers say") from None
    return bytes(data)


def parse_object(data: bytes, *, nulls: bool = True) -> dict[str, Any]:
    """The object that a body holds. `nulls` False: without what is null in it.

    Raises:
        BodyRefused: not JSON (RFC 8259), not an object, a name twice in one object, numbers beyond 64 bits.
    """
    try:
        msgspec.json.decode(data)  # stricter than the library that tells of names given twice
        value = json.loads(data, object_pairs_hook=partial(_once, nulls), parse_int=_whole)
    except BodyRefused:
        raise
    except msgspec.ValidationError as error:
        raise BodyRefused("malformed", f"the body: {str(error).partition(' - at')[0].lower()}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BodyRefused("malformed", "the body is not JSON in UTF-8; send an object") from None
    except (RecursionError, ValueError):
        raise BodyRefused("malformed", "the body: brackets in brackets without end, or numbers of any length") from None
    if not isinstance(value, dict):
        raise BodyRefused("malformed", "the body is not a JSON object")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if not -_NUMBER_END <= value < _NUMBER_END:
        raise BodyRefused("malformed", f"the body: {text[:_SHOWN_DIGITS]} is beyond 64 bits")
    return value


def _once(nulls: bool, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that is given twice nobody knows which one is meant, and others may take the other one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        said = f"the body: {twice[:_SHOWN_CHARACTERS]!r} is given more than once in one object"
        raise BodyRefused("malformed", said)
    return found if nulls else {name: item for name, item in found.items() if item is not None}

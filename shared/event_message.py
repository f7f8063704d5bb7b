"""What comes on an event's subject: the mesh's own events, and what applications post."""

import time
from typing import Any, Final

import msgspec

from schemas.errors import BadRequest
from schemas.events import Event
from schemas.rule_checks import pattern_of

_MAX_BYTES: Final = 256 * 1024  # the mesh's own have some hundreds; reading more would keep others waiting
_NOBODY: Final = "unknown"


def event_in(subject: str, data: bytes) -> Event:
    """The event that a message is. A JSON object that is no whole event is one that has just happened, with that object
    as its detail.

    Raises:
        BadRequest: it is no JSON object, or too large.
    """
    if len(data) > _MAX_BYTES:
        raise BadRequest(f"{subject}: an event of {len(data)} bytes; {_MAX_BYTES} are the most")
    try:
        return msgspec.json.decode(data, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = _object_in(data)
    if not isinstance(detail, dict):
        raise BadRequest(f"{subject}: no JSON object")
    service, resource, name = pattern_of(subject, "subject")
    return Event(service=service, id=resource, event=name, node=_NOBODY, at_ns=time.time_ns(), detail=detail)


def _object_in(data: bytes) -> Any:
    """None: it is no JSON at all."""
    try:
        return msgspec.json.decode(data) if data.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None

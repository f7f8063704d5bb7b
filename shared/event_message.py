"""What comes on an event's subject: the mesh's own events, and what applications post."""

import time
from typing import Any, Final

import msgspec

from schemas.errors import BadRequest
from schemas.events import Event
from schemas.rule_checks import pattern_of

_MAX_BYTES: Final = 256 * 1024  # the mesh's own have some hundreds; reading more would keep others waiting
_MAX_DEPTH: Final = 64  # the mesh's own have six; what is near the depth that can be read cannot be written again
_NOBODY: Final = "unknown"


def event_in(subject: str, data: bytes) -> Event:
    """The event that a message is. A JSON object that is no whole event is one that has just happened, with that object
    as its detail.

    Raises:
        BadRequest: it is no JSON object, too large, or nested too deep.
    """
    if len(data) > _MAX_BYTES:
        raise BadRequest(f"{subject}: an event of {len(data)} bytes; {_MAX_BYTES} are the most")
    try:
        return whole_event_in(subject, data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = _object_in(data)
    if not isinstance(detail, dict):
        raise BadRequest(f"{subject}: no JSON object")
    _check_depth(subject, data, detail)
    service, resource, name = pattern_of(subject, "subject")
    return Event(service=service, id=resource, event=name, node=_NOBODY, at_ns=time.time_ns(), detail=detail)


def whole_event_in(subject: str, data: bytes) -> Event:
    """The event that a message is, by the names of its subject: by them the server judges who may post it, and inside
    it may call itself another's.

    Raises:
        DecodeError, UnicodeDecodeError, RecursionError: it is no whole event.
        BadRequest: nor is the subject one of events, or its detail is nested too deep.
    """
    event = msgspec.json.decode(data, type=Event)
    _check_depth(subject, data, event.detail)
    if subject.split(".")[-3:] == [event.service, event.id, event.event]:
        return event
    service, resource, name = pattern_of(subject, "subject")
    return msgspec.structs.replace(event, service=service, id=resource, event=name)


def _object_in(data: bytes) -> Any:
    """None: it is no JSON at all."""
    try:
        return msgspec.json.decode(data) if data.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _check_depth(subject: str, data: bytes, detail: dict[str, Any]) -> None:
    if data.count(b"[") + data.count(b"{") <= _MAX_DEPTH:  # nearly all: the walk is for those with more brackets
        return
    level: list[Any] = [detail]
    for _ in range(_MAX_DEPTH):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
        if not level:
            return
    raise BadRequest(f"{subject}: fields of an event lie at most {_MAX_DEPTH} deep in one another")

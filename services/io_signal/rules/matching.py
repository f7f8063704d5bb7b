"""Which events a rule is about."""

import time
from typing import Any, Final

import msgspec

from schemas.errors import BadRequest
from schemas.events import Event
from schemas.rule_checks import Pattern, pattern_of
from schemas.signal_resources import EventDetail
from schemas.subjects import events_like

ANY: Final = "*"
_MAX_EVENT_BYTES: Final = 256 * 1024  # the mesh's own have some hundreds; reading more would keep the others waiting
_FAR_NS: Final = 3_600 * 1_000_000_000  # a clock that is so far off tells nothing; what comes has just happened
_MISSING: Final = object()


def subject_of(when: str) -> str:
    """What is subscribed to."""
    return events_like(".".join(pattern_of(when)))


def read_event(subject: str, data: bytes) -> Event:
    """The event that a message is. What programs post that is no whole event is one with what they wrote as its detail.

    Raises:
        BadRequest: it is no JSON object, or too large.
    """
    if len(data) > _MAX_EVENT_BYTES:
        raise BadRequest(f"{subject}: an event of {len(data)} bytes; {_MAX_EVENT_BYTES} are the most")
    now_ns = time.time_ns()
    try:
        event = msgspec.json.decode(data, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = _object_in(data)
    else:
        # Recordings would end in another century.
        return event if abs(event.at_ns - now_ns) < _FAR_NS else msgspec.structs.replace(event, at_ns=now_ns)
    if not isinstance(detail, dict):
        raise BadRequest(f"{subject}: no JSON object")
    service, resource, name = pattern_of(subject, "subject")
    return Event(service=service, id=resource, event=name, node="unknown", at_ns=now_ns, detail=detail)


def _object_in(data: bytes) -> Any:
    """None: it is no JSON at all."""
    try:
        return msgspec.json.decode(data) if data.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_about(when: Pattern, event: Event) -> bool:
    return all(want in (ANY, has) for want, has in zip(when, (event.service, event.id, event.event), strict=True))


def meet(one: Pattern, other: Pattern) -> bool:
    """Whether there can be an event that both are about."""
    return all(a == b or ANY in (a, b) for a, b in zip(one, other, strict=True))


def has_fields(where: dict[str, EventDetail], event: Event) -> bool:
    """Whether the event says what the rule asks for; `state` and `node` of events that have no such detail are the
    event's own."""
    own: dict[str, Any] = {"state": event.state, "node": event.node}
    return all(
        same(wanted, event.detail[name] if name in event.detail else own.get(name, _MISSING))
        for name, wanted in where.items()
    )


def same(one: object, other: object) -> bool:
    """Equal, where 1 is not true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)

"""Which events a rule is about."""

import time
from typing import Any, Final

import msgspec

from schemas.events import Event
from schemas.rule_checks import Pattern, pattern_of
from schemas.signal_resources import EventDetail
from schemas.subjects import events_like
from shared.event_message import event_in

ANY: Final = "*"
_FAR_NS: Final = 3_600 * 1_000_000_000
_MISSING: Final = object()


def subject_of(when: str) -> str:
    """What is subscribed to."""
    return events_like(".".join(pattern_of(when)))


def read_event(subject: str, data: bytes) -> Event:
    """The event that a message is, as something that has just happened: of a clock that is far off the time is not
    believed, or recordings would end in another century.

    Raises:
        BadRequest: it is none.
    """
    event, now_ns = event_in(subject, data), time.time_ns()
    return event if abs(event.at_ns - now_ns) < _FAR_NS else msgspec.structs.replace(event, at_ns=now_ns)


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

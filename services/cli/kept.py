"""What the mesh has kept of the past: the audit and the events, as records."""

import argparse
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec

from schemas.audit import AuditRecord
from schemas.errors import BadRequest, Forbidden, Unavailable
from schemas.events import Event
from schemas.packets import UNREADABLE
from schemas.subjects import AUDIT_STREAM, EVENTS_STREAM, all_audits, all_events
from schemas.units import parse_duration
from shared.bus import Bus
from shared.event_message import whole_event_in


def add_since_argument(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--since", default=default, metavar="DURATION", help=f"so far back: 10m, 1h, 7d ({default} when left out)"
    )


def since_seconds(options: argparse.Namespace) -> float:
    """Since 1970. Raises: InvalidValue: no duration."""
    return time.time() - parse_duration(options.since, "--since")


async def audit_records(bus: Bus, since_s: float, service: str = "*") -> AsyncIterator[AuditRecord]:
    """In order; whom a door's own record names is certain of what that door caused, too.

    Raises:
        Unavailable: the bus does not answer, or there is no audit yet.
    """
    decoder = msgspec.json.Decoder(AuditRecord)
    async for _, message in bus.kept_since(AUDIT_STREAM, all_audits(service), since_s):
        try:
            yield decoder.decode(message.data)
        except UNREADABLE:  # of a service of another version
            continue


async def kept_events(bus: Bus, since_s: float) -> AsyncIterator[Event]:
    """In order.

    Raises:
        Unavailable: the bus does not answer, or there are no events yet.
    """
    async for _, message in bus.kept_since(EVENTS_STREAM, all_events(), since_s):
        try:
            yield whole_event_in(message.subject, message.data)
        except (BadRequest, *UNREADABLE):  # an application's, which is no whole one
            continue


async def vouched(records: AsyncIterator[AuditRecord]) -> list[AuditRecord]:
    """With `actor_verified` of commands that a door has given in somebody's name: only the door could write that it
    did, and who reads the audit is the only one to see the number of its step."""
    found: list[AuditRecord] = [record async for record in records]
    doors = {(one.trace_id, one.span_id): one.actor for one in found if one.actor_verified}
    return [
        msgspec.structs.replace(one, actor_verified=True)
        if one.actor and doors.get((one.trace_id, one.parent_id)) == one.actor
        else one
        for one in found
    ]


async def if_any(records: AsyncIterator[AuditRecord]) -> AsyncIterator[AuditRecord]:
    """None where there is no audit yet: then nobody has commanded anything."""
    try:
        async for record in records:
            yield record
    except Unavailable as error:
        if "not there yet" not in error.message:
            raise


@contextlib.asynccontextmanager
async def as_keeper() -> AsyncIterator[None]:
    """Tell who is refused that one party alone may save and restore a locked mesh."""
    try:
        yield
    except Forbidden as error:
        fix = 'in a locked mesh this is for `backup`: eval "$(framemesh secrets env FOLDER backup)"'
        raise Forbidden(f"{error.message}; {fix}") from None

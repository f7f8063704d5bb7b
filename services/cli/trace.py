"""The whole story of one command, in order: what was commanded, what followed in which service, how long it took.

examples:
  framemesh trace                       the newest stories, to find an ID
  framemesh trace 4bf92f3577b34da6a3ce929d0e0e4736
  framemesh trace 4bf92f35              as much of it as tells it from others
  framemesh trace 4bf92f35 --json

A story's ID is in `framemesh audit`, in every event (`trace_id`) and in JSON logs (`trace`). Whoever gives a command
with the header `traceparent` (W3C trace context), or sets TRACEPARENT for `framemesh`, makes it part of an own story.
"""

import argparse
import re
from datetime import datetime

import msgspec
from msgspec import Struct

from schemas.audit import AuditRecord
from schemas.errors import BadRequest, InvalidValue, NotFound, Unavailable
from schemas.events import Event
from schemas.subjects import PREFIX
from schemas.trace import read_traceparent
from schemas.units import NS_PER_SECOND
from services.cli.audit import commanded, who
from services.cli.connection import add_nats_argument, connected
from services.cli.kept import add_since_argument, audit_records, if_any, kept_events, since_seconds, vouched
from services.cli.table import table
from shared.bus import Bus

HELP = "the whole story of one command"
_ID = re.compile(r"[0-9a-f]{4,32}")
_NEWEST = 20
_MS = 1_000_000


class Step(Struct, frozen=True, kw_only=True):
    """One line of a story."""

    at_ns: int
    after_ms: float
    """Since the story's first step."""
    took_ms: float | None = None
    """None: it happened at one moment."""
    depth: int = 0
    """How many commands led to one another up to this one."""
    service: str
    node: str
    what: str
    detail: str = ""
    error: str = ""


class Story(Struct, frozen=True, kw_only=True):
    trace_id: str
    took_ms: float
    steps: tuple[Step, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="of the story, or its beginning; the newest when left out")
    add_since_argument(parser, "24h")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    wanted = _wanted(options.id) if options.id else ""
    async with connected(options) as bus:
        since_s = since_seconds(options)
        records = await vouched(if_any(audit_records(bus, since_s)))
        if not wanted:
            return _list(records, options.json)
        events = await _events(bus, since_s, wanted)
    found = story(wanted, [one for one in records if one.trace_id.startswith(wanted)], events)
    print(msgspec.json.encode(found).decode() if options.json else describe(found))
    return 0


def _wanted(text: str) -> str:
    """Raises: InvalidValue: no ID, nor the beginning of one."""
    whole = read_traceparent(text)
    if whole is not None:
        return whole.trace_id
    if not _ID.fullmatch(text.lower()):
        raise InvalidValue("ID", text, "give 4 to 32 hexadecimal digits, as `framemesh audit` lists them")
    return text.lower()


async def _events(bus: Bus, since_s: float, wanted: str) -> list[Event]:
    try:
        return [event async for event in kept_events(bus, since_s) if event.trace_id.startswith(wanted)]
    except Unavailable as error:
        if "not there yet" in error.message:
            return []
        raise


def story(wanted: str, records: list[AuditRecord], events: list[Event]) -> Story:
    """Raises:
    NotFound: there is none in that time.
    BadRequest: several begin so.
    """
    ids = sorted({one.trace_id for one in records} | {one.trace_id for one in events})
    if not ids:
        raise NotFound(f"trace {wanted}: nothing in that time; look further back with --since")
    if len(ids) > 1:
        raise BadRequest(f"trace {wanted}: {len(ids)} begin so; give more of its digits")
    parents = {one.span_id: one.parent_id for one in records}
    steps = [_command(one, parents) for one in records] + [_event(one) for one in events]
    steps.sort(key=lambda step: step.at_ns)
    first = steps[0].at_ns
    last = max(step.at_ns + int((step.took_ms or 0) * _MS) for step in steps)
    placed = tuple(msgspec.structs.replace(step, after_ms=round((step.at_ns - first) / _MS, 3)) for step in steps)
    return Story(trace_id=ids[0], took_ms=round((last - first) / _MS, 3), steps=placed)


def describe(found: Story) -> str:
    """The story as a table, times from its beginning."""
    began = datetime.fromtimestamp(found.steps[0].at_ns / NS_PER_SECOND).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    rows = [("AFTER", "TOOK", "SERVICE", "NODE", "WHAT", "")]
    for step in found.steps:
        took = "-" if step.took_ms is None else f"{step.took_ms:.1f} ms"
        detail = f"! {step.error}" if step.error else step.detail
        row = (f"{step.after_ms:.1f} ms", took, step.service, step.node, "  " * step.depth + step.what, detail)
        rows.append(row)
    return "\n".join([f"{found.trace_id}  {began}, {found.took_ms:.1f} ms in all", "", *table(rows)])


def _command(record: AuditRecord, parents: dict[str, str]) -> Step:
    depth, above = 0, record.parent_id
    while above in parents and depth < len(parents):
        depth, above = depth + 1, parents[above]
    about = f" {record.resource}" if record.resource else ""
    return Step(
        at_ns=record.at_ns,
        after_ms=0.0,
        took_ms=record.took_ms,
        depth=depth,
        service=record.service,
        node=record.node,
        what=f"{record.verb if record.subject.startswith(PREFIX) else commanded(record)}{about}",
        detail=f"{record.code} by {who(record)}",
        error=f"{record.code} {record.message}" if record.message else "",
    )


def _event(event: Event) -> Step:
    state = f" {event.state}" if event.state else ""
    return Step(
        at_ns=event.at_ns,
        after_ms=0.0,
        service=event.service,
        node=event.node,
        what=f"· {event.id} {event.event}{state}",
        error=event.error.message if event.error else "",
    )


def _list(records: list[AuditRecord], as_json: bool) -> int:
    firsts: dict[str, AuditRecord] = {}
    for record in records:
        firsts.setdefault(record.trace_id, record)
    newest = list(firsts.values())[-_NEWEST:]
    if as_json:
        print(msgspec.json.encode(newest).decode())
        return 0
    rows = [("TRACE", "TIME", "COMMAND", "WHO")]
    for one in newest:
        at = datetime.fromtimestamp(one.at_ns / NS_PER_SECOND).strftime("%m-%d %H:%M:%S")
        rows.append((one.trace_id, at, f"{commanded(one)} {one.resource}", who(one)))
    print("\n".join(table(rows)) if newest else "nothing in that time")
    return 0

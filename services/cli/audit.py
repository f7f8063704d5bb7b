"""Who commanded what: every command that changed something, or tried to.

examples:
  framemesh audit
  framemesh audit --since 7d --service capture
  framemesh audit --actor alice
  framemesh audit --refused
  framemesh audit --json | jq 'select(.code >= 400)'

WHO is the holder of a token where a gateway has judged one. With `(claimed)` it is what the asker says of itself; the
permissions of the bus decide which parties may give a command at all. TRACE is for `framemesh trace`.
"""

import argparse
from datetime import datetime

import msgspec

from schemas.audit import AuditRecord
from schemas.ids import check_id
from schemas.subjects import PREFIX
from schemas.units import NS_PER_SECOND
from services.cli.connection import add_nats_argument, connected
from services.cli.kept import add_since_argument, audit_records, if_any, since_seconds, vouched
from services.cli.table import table

HELP = "who commanded what"
_HEADER = ("TIME", "WHO", "COMMAND", "OF", "CODE", "MS", "NODE", "TRACE", "REQUEST")
_REFUSED = 400
_MOST_REQUEST_CHARACTERS = 80
_TRACE_CHARACTERS = 12  # enough for `framemesh trace`, and a table stays readable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_since_argument(parser, "24h")
    parser.add_argument("--service", metavar="SERVICE", help="only what this service answered")
    parser.add_argument("--actor", metavar="NAME", help="only of whom this names, or part of the name")
    parser.add_argument("--refused", action="store_true", help="only what failed")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    service = check_id(options.service, "--service") if options.service else "*"
    since_s = since_seconds(options)
    async with connected(options) as bus:
        # All services: a door's record vouches for what another one answered.
        found = await vouched(if_any(audit_records(bus, since_s)))
    chosen = [record for record in found if _is_wanted(record, service, options.actor, options.refused)]
    if options.json:
        for record in chosen:
            print(msgspec.json.encode(record).decode())
    else:
        print("\n".join(table([_HEADER, *map(_row, chosen)])) if chosen else "nothing in that time")
    return 0


def _is_wanted(record: AuditRecord, service: str, actor: str | None, refused: bool) -> bool:
    return (
        service in ("*", record.service)
        and (actor is None or actor.lower() in record.actor.lower())
        and (not refused or record.code >= _REFUSED)
    )


def who(record: AuditRecord) -> str:
    """Who gave it, and whether that is certain."""
    if record.actor:
        return record.actor if record.actor_verified else f"{record.actor} (claimed)"
    if record.party:
        return record.party if record.party_verified else f"{record.party} (claimed)"
    return "-"


def asked(record: AuditRecord) -> str:
    text = msgspec.json.encode(record.request).decode() if record.request else ""
    shown = f"{record.message}  {text}" if record.message else text
    return shown if len(shown) <= _MOST_REQUEST_CHARACTERS else shown[: _MOST_REQUEST_CHARACTERS - 1] + "…"


def commanded(record: AuditRecord) -> str:
    """`capture.start`; `HTTP capture.start` of a door's own record, whose path has it."""
    if record.subject.startswith(PREFIX):
        return f"{record.service}.{record.verb}"
    _, _, name = record.subject.partition("/api/cmd/")
    return f"HTTP {name.partition('/')[0]}" if name else f"HTTP {record.service}.{record.verb}"


def _row(record: AuditRecord) -> tuple[str, ...]:
    at = datetime.fromtimestamp(record.at_ns / NS_PER_SECOND).strftime("%m-%d %H:%M:%S")
    what = (commanded(record), record.resource or "-", str(record.code), f"{record.took_ms:.0f}")
    return at, who(record), *what, record.node, record.trace_id[:_TRACE_CHARACTERS], asked(record)

"""What was recorded: the files of a stream, or of all.

examples:
  framemesh recordings
  framemesh recordings cam0 --from -1h
  framemesh recordings --from 2026-05-04T10:00:00Z --to 2026-05-04T11:00:00Z --limit 20
  framemesh recordings --json | jq -r '.[].files[].file'

What stands under FILE is what to give to `framemesh fetch`. Times are local; `*` behind the end: it is being written.
"""

import argparse
import asyncio
from datetime import datetime

import msgspec

from schemas.errors import BadRequest, MeshError
from schemas.recordings import ListRecordings, RecordedFile, RecordedFiles
from schemas.subjects import command
from schemas.units import NS_PER_SECOND
from services.cli.connection import add_nats_argument, connected
from services.cli.publishers import publisher_nodes
from services.cli.table import table
from shared.bus import Bus

HELP = "what was recorded"
_REPLY_SECONDS = 15.0  # of a disk with a hundred thousand files
_HEADER = ("NODE", "STREAM", "OUTPUT", "START", "END", "SECONDS", "MB", "FILE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", nargs="?", metavar="STREAM", help="of one stream only")
    parser.add_argument("--from", dest="start", metavar="TIME", help="what ends after it: -1h, or 2026-05-04T10:00:00Z")
    parser.add_argument("--to", dest="end", metavar="TIME", help="what begins before it")
    parser.add_argument("--limit", type=int, metavar="FILES", help="the newest so many of each node (1000)")
    parser.add_argument("--node", metavar="NODE", help="of one node only")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in ("stream", "start", "end", "limit")}
    try:
        request = msgspec.convert({name: value for name, value in given.items() if value is not None}, ListRecordings)
    except msgspec.ValidationError as error:
        raise BadRequest(f"recordings: {error}") from None
    async with connected(options) as bus:
        nodes = [options.node] if options.node else await publisher_nodes(bus)
        answers = await asyncio.gather(*(_ask(bus, node, request) for node in nodes))
    lists = [answer for answer in answers if isinstance(answer, RecordedFiles)]
    refused = [answer for answer in answers if isinstance(answer, MeshError)]
    if not lists and refused:
        raise refused[0]
    if options.json:
        print(msgspec.json.encode(lists).decode())
    else:
        print(describe(lists))
        if refused:
            print("\nPROBLEMS", *(f"  {error.message}" for error in refused), sep="\n")
    return 1 if refused else 0


def describe(lists: list[RecordedFiles]) -> str:
    """The files as a table, and whether there are more."""
    rows = [_row(listed.node, file) for listed in lists for file in listed.files]
    if not rows:
        return "nothing; framemesh record start STREAM begins a recording"
    more = [f"  older ones of node {listed.node}: --to, or --limit" for listed in lists if listed.more]
    return "\n".join([*table([_HEADER, *rows]), *(["", "MORE", *more] if more else [])])


async def _ask(bus: Bus, node: str, request: ListRecordings) -> RecordedFiles | MeshError:
    try:
        return await bus.request(command("publisher", "recordings", node), request, RecordedFiles, _REPLY_SECONDS)
    except MeshError as error:
        return error


def _row(node: str, file: RecordedFile) -> tuple[str, ...]:
    start, end = (datetime.fromtimestamp(ns // NS_PER_SECOND) for ns in (file.start_ns, file.end_ns))
    return (
        node,
        file.stream,
        file.output,
        start.isoformat(" "),
        f"{end.time().isoformat()}{'*' if file.writing else ''}",
        f"{(file.end_ns - file.start_ns) / NS_PER_SECOND:.1f}",
        f"{file.size_bytes / 1e6:.1f}",
        file.file,
    )

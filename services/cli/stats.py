"""What streams deliver at this moment: rates, sizes, drops, restarts.

examples:
  framemesh stats
  framemesh stats cam0
  framemesh stats --json | jq '.[] | {stream, fps, bitrate}'

fps is what the source sends, decoded what is written to the ring while somebody looks. SOUND is there of streams with
`voice`.
"""

import argparse
import asyncio

import msgspec

from schemas.capture_commands import StatsRequest, StreamStats
from schemas.commands import ListResources, StreamList
from schemas.errors import MeshError
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected
from services.cli.streams import find_stream
from services.cli.table import table
from shared.bus import Bus

HELP = "what streams deliver at this moment"
_REPLY_SECONDS = 3.0  # figures are there, nothing is waited for
_HEADER = (
    *("STREAM", "STATE", "FPS", "DECODED", "BITRATE", "PICTURE", "SOUND"),
    *("DROPPED", "RESTARTS", "STALLS", "FREEZES"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", nargs="?", metavar="STREAM", help="all when left out")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    async with connected(options) as bus:
        if options.stream:
            names = [(await find_stream(bus, options.stream)).spec.stream]
        else:
            listed = await bus.request(command("capture", "list"), ListResources(), StreamList, _REPLY_SECONDS)
            names = [entry.spec.stream for entry in listed.streams]
        answers = await asyncio.gather(*(_ask(bus, name) for name in names))
    stats = [answer for answer in answers if isinstance(answer, StreamStats)]
    if options.json:
        print(msgspec.json.encode(stats).decode())
    else:
        print("\n".join(table([_HEADER, *map(_row, stats)])) if stats else "no streams yet")
    problems = [f"{item.stream}: {item.error.message}" for item in stats if item.error]
    problems += [f"{name}: {answer}" for name, answer in zip(names, answers, strict=True) if isinstance(answer, str)]
    if problems and not options.json:
        print("\nPROBLEMS", *(f"  {problem}" for problem in problems), sep="\n")
    return 0 if len(stats) == len(names) else 1


async def _ask(bus: Bus, stream: str) -> StreamStats | str:
    try:
        return await bus.request(command("capture", "stats", stream), StatsRequest(), StreamStats, _REPLY_SECONDS)
    except MeshError as error:
        return error.message


def _row(stats: StreamStats) -> tuple[str, ...]:
    picture = f"{stats.width}x{stats.height} {stats.pixel_format or ''}".strip() if stats.width else "-"
    dropped = " ".join(f"{reason}:{count}" for reason, count in sorted(stats.dropped.items()) if count) or "0"
    rates = (f"{stats.fps:.1f}", f"{stats.decoded_fps:.1f}", f"{stats.bitrate / 1e6:.2f}M" if stats.bitrate else "-")
    counts = (str(stats.restarts), str(stats.stalls), str(stats.freezes))
    return (stats.stream, stats.state, *rates, picture, _sound(stats), dropped, *counts)


def _sound(stats: StreamStats) -> str:
    if stats.level_dbfs is None:
        return "-"
    return f"{stats.level_dbfs:.0f}dBFS{' voice' if stats.speaking else ''}"

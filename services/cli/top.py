"""A live screen of the mesh: streams, services, jobs, mixes, signals, viewers and the last events.

examples:
  framemesh top
  framemesh top --once            one frame as text, for scripts
  framemesh top --json            one frame as JSON: `jq '.streams[] | {stream, fps_in, viewers}'`
  framemesh top --interval 5s     look every five seconds

keys: Tab another table, s and S sort, / filter, Enter look at one stream, p hold, ? all of them, q quit.

FPS is what the source sends and what is written to the ring, while somebody looks. DELAY is from capture of a picture
until it is in the ring › encoded › sent to viewers, and LAG how late the service's loop is; both are read from the
services' metrics, where these can be reached. The live screen needs `pip install "framemesh[top]"`.
"""

import argparse
import os
import shutil
import sys

import msgspec

from schemas.errors import InvalidValue, NotFound
from schemas.units import parse_duration
from services.cli.connection import add_nats_argument, connected
from services.cli.top_screen.scene import Scene
from services.cli.top_screen.text import describe
from services.cli.top_screen.watch import Watch

HELP = "a live screen of the mesh"
_LEAST_SECONDS, _MOST_SECONDS = 0.2, 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print one frame as text, and end")
    parser.add_argument("--interval", default="1s", metavar="DURATION", help="look so often (1s)")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    seconds = parse_duration(options.interval, "--interval")
    if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
        raise InvalidValue("--interval", options.interval, "give 200ms to 60s")
    if options.json or options.once:
        scene = await _look(options)
        print(msgspec.json.encode(scene).decode() if options.json else describe(scene, _columns()))
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidValue("framemesh top", "a pipe", "use a terminal, or --once or --json")
    try:
        from services.cli.top_screen.app import TopApp  # not before: 0.2 s that no other command shall take
    except ModuleNotFoundError as error:
        raise NotFound(f'{error.name} is not installed: pip install "framemesh[top]", or use --once') from None
    await TopApp(options, seconds).run_async()
    return 0


async def _look(options: argparse.Namespace) -> Scene:
    async with connected(options) as bus:
        watch = await Watch.open(bus)
        try:
            return await watch.look()
        finally:
            await watch.close()


def _columns() -> int:
    """Of the terminal; into a file all there is."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000

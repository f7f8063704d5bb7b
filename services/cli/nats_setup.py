"""Make the buckets and streams of a locked mesh: its services may not, so this is done once, before they start.

examples:
  eval "$(framemesh secrets env secrets setup)" && framemesh nats-setup
  framemesh nats-setup --nats tls://nats.local:4222 --json

What is there stays as it is: run it again after an update of framemesh, which may have brought more. An open mesh
needs none of this.
"""

import argparse
import sys

import msgspec

from services.cli.connection import add_nats_argument, connected
from services.launcher.kept import make_kept
from shared.settings import Settings, load_settings

HELP = "make the buckets and streams of a locked mesh"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    async with connected(options) as bus:
        kept = await make_kept(bus, load_settings(Settings, "cli"))
    if options.json:
        print(msgspec.json.encode({"kept": kept}).decode())
    else:
        print(f"there are {len(kept)} buckets and streams: {', '.join(kept)}", file=sys.stderr)
    return 0

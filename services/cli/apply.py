"""Make a running mesh what mesh.yaml says: the file's commands, given one after the other.

examples:
  framemesh apply mesh.yaml
  framemesh apply mesh.yaml --prune      also stop what is not in the file
"""

import argparse
from collections.abc import AsyncIterator

import msgspec

from services.cli.connection import add_nats_argument, connected
from services.cli.paths import path_argument
from shared.apply import Applied, apply_plan
from shared.mesh_file import load_mesh_file

HELP = "make the mesh what mesh.yaml says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=path_argument, metavar="mesh.yaml")
    parser.add_argument("--prune", action="store_true", help="stop what runs but is not in the file")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    plan = load_mesh_file(options.file)
    async with connected(options) as bus:
        return await show_applied(apply_plan(bus, plan, prune=options.prune), as_json=options.json)


async def show_applied(results: AsyncIterator[Applied], *, as_json: bool) -> int:
    """Print what came of each command; 1 when any failed, else 0."""
    failed = 0
    async for applied in results:
        failed += applied.error is not None
        if as_json:
            print(msgspec.json.encode(applied._asdict()).decode(), flush=True)
        elif applied.error:
            print(f"  ✗ {applied.what}: error {applied.error.code}: {applied.error.message}", flush=True)
        else:
            outcome = applied.state or ("stopped" if applied.verb.startswith("stop") else "accepted")
            print(f"  ✓ {applied.what}: {outcome}", flush=True)
    return 1 if failed else 0

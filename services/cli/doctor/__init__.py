"""Check this machine, and the mesh that it is part of; say what to do where something is not as it should be.

examples:
  framemesh doctor
  framemesh doctor mesh.yaml                   would that mesh have room here?
  framemesh doctor --only shm,nats
  framemesh doctor --shm mesh.yaml             the size to give the tmpfs, with the arithmetic
  framemesh doctor --shm mesh.yaml --json | jq .bytes
  framemesh doctor --json | jq '.findings[] | select(.level != "ok")'

It ends with 1 where something is wrong, else with 0.
"""

import argparse

from services.cli.connection import add_nats_argument
from services.cli.doctor.finding import GROUPS
from services.cli.paths import path_argument

HELP = "check this machine"
_DEADLINE_SECONDS = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", type=path_argument, metavar="mesh.yaml", help="judge memory by this, not by what runs"
    )
    parser.add_argument(
        "--shm", action="store_true", help="only print the size that shared memory needs, with the arithmetic"
    )
    parser.add_argument("--only", metavar="GROUPS", default="", help=f"of {', '.join(GROUPS)}")
    parser.add_argument(
        "--deadline", type=float, default=_DEADLINE_SECONDS, metavar="SECONDS", help="for each check (%(default)g)"
    )
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    # Here, because every command would wait for what reads rings.
    from services.cli.doctor.examination import examination

    return await examination(options)

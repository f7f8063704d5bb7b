"""Make the mesh's kept state what a backup says; services that run act on it at once.

examples:
  framemesh restore mesh.backup --dry-run       what would be done
  framemesh restore mesh.backup                 what is not in the file stays
  framemesh restore mesh.backup --prune         what was not asked for then is removed
"""

import argparse
from collections import Counter

import msgspec

from services.cli.connection import add_nats_argument, connected
from services.cli.kept import as_keeper
from services.cli.paths import path_argument
from shared.backup import read_archive, restore

HELP = "make the mesh what a backup says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=path_argument, metavar="FILE")
    parser.add_argument("--prune", action="store_true", help="remove what is asked for and not in the file")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    backup = read_archive(options.file)
    counts: Counter[str] = Counter()
    async with connected(options) as bus, as_keeper():
        async for done in restore(bus, backup, prune=options.prune, dry_run=options.dry_run):
            counts[done.outcome] += 1
            if options.json:
                print(msgspec.json.encode(done._asdict()).decode(), flush=True)
            elif done.error:
                print(f"  ✗ {done.bucket} {done.key}: error {done.error.code}: {done.error.message}", flush=True)
            elif done.outcome != "same":
                print(f"  ✓ {done.bucket} {done.key}: {done.outcome}", flush=True)
    if not options.json:
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing was in it"
        print(f"{'would be: ' if options.dry_run else ''}{told}")
        if not backup.header.secrets:
            print("the backup is without credentials: sources and destinations that need some must be given again")
    return 1 if counts["failed"] else 0

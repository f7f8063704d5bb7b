"""Write what the mesh keeps into a file: what is asked for, mix tasks, positions of samples, what owners had.

Recordings, pictures and the jobs of the last days are not in it: copy the data folder for those.

examples:
  framemesh backup                              framemesh-20260504-1203.backup, here
  framemesh backup mesh.backup --secrets        with the credentials of cameras and destinations, in plain text
  framemesh restore mesh.backup                 and back
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import msgspec

from schemas.subjects import SECRETS_BUCKET
from services.cli.connection import add_nats_argument, connected
from services.cli.kept import as_keeper
from services.cli.paths import path_argument
from shared.backup import take, write_archive
from shared.backup.take import REFERENCE

HELP = "write what the mesh keeps into a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=path_argument, nargs="?", metavar="FILE", help="where to; else a name with the time"
    )
    parser.add_argument("--secrets", action="store_true", help="with credentials, which are plain text in the file")
    parser.add_argument("--force", action="store_true", help="write over a file of that name")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    path: Path = options.file or Path(time.strftime("framemesh-%Y%m%d-%H%M%S.backup"))
    async with connected(options) as bus, as_keeper():
        backup = await take(bus, secrets=options.secrets)
    size_bytes = write_archive(backup, path, overwrite=options.force)
    counts = Counter(record.bucket for record in backup.records)
    left_out = 0 if options.secrets else sum(bool(REFERENCE.search(record.value)) for record in backup.records)
    if options.json:
        told = {"file": str(path), "bytes": size_bytes, "records": counts, "without_secrets": left_out}
        print(msgspec.json.encode(told).decode())
        return 0
    print(f"{path}: {size_bytes} bytes")
    for bucket, count in sorted(counts.items()):
        print(f"  {bucket:<16} {count}")
    if left_out:
        print(f"  without the credentials of {left_out} of them; --secrets takes them along")
    elif counts[SECRETS_BUCKET]:
        print("  it holds credentials: keep it where only you can read it")
    return 0

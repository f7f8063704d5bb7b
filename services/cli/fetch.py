"""Copy a recorded file from the node that has it.

examples:
  framemesh fetch cam0/20260504-100000.mp4               to 20260504-100000.mp4 here
  framemesh fetch cam0/20260504-100000.mp4 -o door.mp4
  framemesh fetch clips/cam0-20260504-100000.mp4 -o - | ffplay -

A copy that was broken off is gone on with: give the command again. A recording that is being written is copied as far
as it is.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from schemas.errors import BadRequest, Conflict, InvalidValue, Unavailable
from schemas.recordings import FetchFile
from services.cli.connection import add_nats_argument, connected
from services.cli.publishers import node_of_file, read_part
from shared.bus import Bus

HELP = "copy a recorded file"
_STANDARD_OUTPUT = "-"
# A message holds 4 bytes for 3, and the rest of a reply besides.
_OVERHEAD_BYTES = 16_384
_MAX_PART_BYTES = 4 << 20
_PARTIAL = ".part"

Write = Callable[[bytes], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="as `framemesh recordings` shows it")
    parser.add_argument("-o", "--output", metavar="PATH", help="where to; - is standard output")
    parser.add_argument("--node", metavar="NODE", help="that has it, when several have one of this name")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    if options.output == _STANDARD_OUTPUT and options.json:
        raise BadRequest("--json and -o - both want standard output; leave one of them out")
    async with connected(options) as bus:
        node = options.node or await node_of_file(bus, options.file)
        if options.output == _STANDARD_OUTPUT:
            await copy(bus, node, options.file, 0, _write_out)
            return 0
        path = local(options.output or options.file.rpartition("/")[2])
        size_bytes = await fetch(bus, node, options.file, path)
    if options.json:
        print(
            msgspec.json.encode({"file": options.file, "node": node, "path": str(path), "bytes": size_bytes}).decode()
        )
    else:
        print(f"{path}: {size_bytes / 1e6:.1f} MB of {options.file} from {node}")
    return 0


async def fetch(bus: Bus, node: str, file: str, path: Path) -> int:
    """Copy into `path`, from where an earlier try has ended; its bytes.

    Raises:
        Conflict: there is another file of that name.
        Unavailable: it cannot be written; or as of `copy`.
    """
    partial = path.with_name(path.name + _PARTIAL)
    try:
        await asyncio.to_thread(check_free, path)
        with partial.open("ab") as out:
            done = await copy(bus, node, file, out.tell(), lambda data: _append(out.fileno(), data))
        await asyncio.to_thread(os.replace, partial, path)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from None
    return done


def check_free(path: Path) -> None:
    """Raises: Conflict: there is something of that name."""
    if path.exists():
        raise Conflict(f"{path} exists already; give another name with -o")


async def copy(bus: Bus, node: str, file: str, offset: int, write: Write) -> int:
    """Hand the file to `write` in parts from `offset` on, as long as it was when that began; where it ended.

    Raises:
        InvalidValue: less is there than was copied before: it is another file.
        MeshError: the publisher's own.
    """
    part_bytes = min(_MAX_PART_BYTES, (bus.max_payload_bytes - _OVERHEAD_BYTES) // 4 * 3)
    shown: Callable[[int, int], None] = _progress if sys.stderr.isatty() else lambda _done, _of: None
    end: int | None = None
    while end is None or offset < end:
        part = await read_part(bus, node, FetchFile(file=file, offset=offset, size=part_bytes))
        if end is None and offset > part.size_bytes:
            raise InvalidValue(
                "-o", f"{offset} bytes", f"{file} has only {part.size_bytes}; delete the {_PARTIAL} file of another one"
            )
        end = part.size_bytes if end is None else min(end, part.size_bytes)
        if not part.data:
            break
        await asyncio.to_thread(write, part.data[: end - offset])
        offset = min(end, offset + len(part.data))
        shown(offset, end)
    return offset


def local(text: str) -> Path:
    """A path as people write it."""
    return Path(text).expanduser()


def _append(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _progress(done: int, of: int) -> None:
    end = "\n" if done >= of else ""
    print(f"\r{done / 1e6:.1f} of {of / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)

"""Save the newest picture of a stream as a file.

examples:
  framemesh snapshot cam0                            cam0.jpg
  framemesh snapshot cam0 -o door.png                the name says the format
  framemesh snapshot cam0 --max-width 640 -o - | feh -
  framemesh snapshot cam0 --json                     which picture it was: sequence, time, size
"""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from schemas.capture_commands import Snapshot, SnapshotRequest
from schemas.commands import DEFAULT_WAIT_SECONDS
from schemas.errors import BadRequest, InvalidValue, Unavailable
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected
from services.cli.streams import find_stream

HELP = "save the newest picture of a stream"
_REPLY_MARGIN_SECONDS = 10.0  # a large png takes some seconds
_STANDARD_OUTPUT = "-"
_FORMATS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to; STREAM.jpg when left out, - is standard output"
    )
    parser.add_argument("--format", choices=("jpg", "png", "webp"), help="when the file's name does not say it (jpg)")
    parser.add_argument("--quality", type=int, metavar="1-100", help="of a jpg or webp (90)")
    parser.add_argument("--max-width", type=int, metavar="PIXELS", help="scale wider pictures down")
    parser.add_argument(
        "--wait", dest="wait_s", type=float, metavar="SECONDS", help=f"for a picture ({DEFAULT_WAIT_SECONDS:g})"
    )
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    output = options.output or f"{options.stream}.{options.format or 'jpg'}"
    if output == _STANDARD_OUTPUT and options.json:
        raise BadRequest("--json and -o - both want standard output; leave one of them out")
    given = {name: getattr(options, name) for name in ("quality", "max_width", "wait_s")}
    given["format"] = _format(output, options.format)
    try:
        request = msgspec.convert({name: value for name, value in given.items() if value is not None}, SnapshotRequest)
    except msgspec.ValidationError as error:
        text, _, name = str(error).partition(" - at `$.")
        option = name.rstrip("`").replace("_", "-").replace("wait-s", "wait")
        raise BadRequest(f"--{option}: {text.replace('Expected', 'expected')}") from None
    async with connected(options) as bus:
        await find_stream(bus, options.stream)
        subject = command("capture", "snapshot", options.stream)
        snapshot = await bus.request(subject, request, Snapshot, request.wait_s + _REPLY_MARGIN_SECONDS)
    if output == _STANDARD_OUTPUT:
        sys.stdout.buffer.write(snapshot.data)
        return 0
    await asyncio.to_thread(_write, output, snapshot.data)
    if options.json:
        about = {name: value for name, value in msgspec.structs.asdict(snapshot).items() if name != "data"}
        print(msgspec.json.encode({**about, "file": output}).decode())
    else:
        print(f"{output}: {snapshot.width}x{snapshot.height}, picture {snapshot.sequence} of {snapshot.stream}")
    return 0


def _format(output: str, asked: str | None) -> str:
    """Raises: InvalidValue: the file's name says something else than a picture, or than `--format`."""
    if output == _STANDARD_OUTPUT:
        return asked or "jpg"
    ending = Path(output).suffix.lower()
    named = _FORMATS.get(ending)
    if asked is None and named is None:
        raise InvalidValue("-o", output, "end the name in .jpg or .png, or say --format")
    if asked and named and asked != named:
        raise InvalidValue("--format", asked, f"the file's name ends in {ending}; change one of them")
    return asked or named or "jpg"


def _write(output: str, data: bytes) -> None:
    path = Path(output).expanduser()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from None

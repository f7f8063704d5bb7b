"""Give one command to a running mesh and print its reply.

examples:
  framemesh call capture.start '{"stream":"cam0","source":"rtsp://user:password@camera/stream"}'
  framemesh call publisher.start '{"stream":"cam0","output":"archive","to":"file://cam0.mp4"}'
  framemesh call hw-encode.cam0--main.keyframe
  framemesh call capture.stop '{"stream":"cam0"}'

The same with any NATS client: `nats req mesh.v1.cmd.capture.start '{…}'`.
"""

import argparse
import contextlib
import json
import sys

import msgspec

from schemas.commands import DEFAULT_WAIT_SECONDS
from schemas.errors import BadRequest, MeshError
from schemas.subjects import PREFIX
from services.cli.connection import add_nats_argument, connected

HELP = "give one command and print the reply"
_REPLY_MARGIN_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", help="capture.start, hw-encode.cam0--main.keyframe, … or a whole subject")
    parser.add_argument("request", nargs="?", default="{}", metavar="JSON", help="the request; {} when left out")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    try:
        request = json.loads(options.request)
    except ValueError as error:
        raise BadRequest(f'request: not JSON: {error}; quote it, for example \'{{"stream":"cam0"}}\'') from None
    subject = options.subject if options.subject.startswith(PREFIX) else f"{PREFIX}.cmd.{options.subject}"
    wait = request.get("wait_s", DEFAULT_WAIT_SECONDS) if isinstance(request, dict) else 0
    timeout = (wait if isinstance(wait, int | float) else 0) + _REPLY_MARGIN_SECONDS
    async with connected(options) as bus:
        try:
            reply = await bus.request_raw(subject, options.request.encode(), timeout)
        except MeshError as error:
            if error.reply and not options.json:
                _print(error.reply, compact=False)
            if options.json:
                body = msgspec.Raw(error.reply) if error.reply else None
                print(msgspec.json.encode({"error": error.info, "reply": body}).decode())
            print(f"error {error.code}: {error.message}", file=sys.stderr)
            return 1
    _print(reply, compact=options.json)
    return 0


def _print(reply: bytes, *, compact: bool) -> None:
    text = reply
    if not compact:
        with contextlib.suppress(msgspec.DecodeError):  # a reply of somebody else's service: as it is
            text = msgspec.json.format(reply, indent=2)
    print(text.decode(errors="replace"))

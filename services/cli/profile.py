"""Keep a camera's picture settings in a file: check it against the camera, apply it, or write one of what is set.

examples:
  framemesh profile show cam0 > night.json
  framemesh profile check cam0 night.json      what the camera would say; nothing is changed
  framemesh profile apply cam0 night.json      what the file does not name gets its default

A profile has size, fps, pixel_format, crop, rotate, masks, binning, bit_depth, trigger and controls:
  {"size": "1280x720", "fps": 30, "controls": {"exposure_time_absolute": 100, "gain": 2}}
"""

import argparse

import msgspec

from schemas.capture_commands import ConfigureStream
from schemas.commands import DEFAULT_WAIT_SECONDS, StreamChanged
from schemas.errors import BadRequest
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected
from services.cli.paths import path_argument
from services.cli.streams import find_stream
from shared.profile_file import load_profile, profile_text

HELP = "check, apply or show a camera's picture settings"
_REPLY_MARGIN_SECONDS = 15.0  # the camera is asked first, and what it refuses is taken back


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "apply", "show"))
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument("file", nargs="?", type=path_argument, metavar="FILE.json", help="of check and apply")
    parser.add_argument("--no-check", action="store_true", help="of apply: leave the judgement to the camera")
    parser.add_argument(
        "--wait", dest="wait_s", type=float, default=DEFAULT_WAIT_SECONDS, metavar="SECONDS",
        help=f"for the camera ({DEFAULT_WAIT_SECONDS:g})",
    )  # fmt: skip
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    if options.action == "show":
        if options.file:
            raise BadRequest(f"profile show writes to standard output: framemesh profile show … > {options.file}")
        async with connected(options) as bus:
            print(profile_text((await find_stream(bus, options.stream)).spec), end="")
        return 0
    if options.file is None:
        raise BadRequest(
            f"profile {options.action}: name the file: framemesh profile {options.action} STREAM FILE.json"
        )
    request = ConfigureStream(
        profile=load_profile(options.file),
        apply=options.action == "apply",
        validate=not options.no_check,
        wait_s=options.wait_s,
    )
    timeout = options.wait_s + _REPLY_MARGIN_SECONDS
    async with connected(options) as bus:
        await find_stream(bus, options.stream)
        subject = command("capture", "configure", options.stream)
        try:
            changed = await bus.request(subject, request, StreamChanged, timeout)
        except BadRequest as error:
            raise BadRequest(f"{options.file}: {error.message}") from None
    if options.json:
        print(msgspec.json.encode(changed).decode())
    elif options.action == "check":
        print(f"{options.file}: {options.stream} can do this")
    else:
        print(
            f"{options.stream}: {changed.actual.state if changed.actual else 'accepted'}, revision {changed.revision}"
        )
    return 0

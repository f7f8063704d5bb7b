"""`framemesh`: start a mesh, look at it, talk to it."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence

import msgspec

from schemas.errors import MeshError
from services.cli import (
    apply,
    audit,
    backup,
    call,
    channels,
    clip,
    devices,
    doctor,
    extract,
    fetch,
    fleet,
    jobs,
    mix,
    nats_config,
    nats_setup,
    profile,
    record,
    recordings,
    restore,
    secrets,
    sessions,
    signal,
    snapshot,
    stats,
    status,
    token,
    top,
    trace,
    up,
)
from shared.logs import setup_logging
from shared.service import VERSION

_EPILOG = """first steps:
  framemesh up --demo                          a moving picture in your browser, one command
  framemesh up --source rtsp://user:pw@cam/1   your own camera, as stream cam0
  framemesh up mesh.yaml                       everything from a file
  framemesh call capture.start '{"stream":"cam1","source":"file:///clips/a.mp4"}'
  framemesh status                             what runs, and how it is
  framemesh devices                            the cameras that are plugged in
"""
_TIMES = ("--from", "--to")
_PAST = re.compile(r"-\d")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run the command, exit: 0 done, 1 the mesh refused, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
    try:
        setup_logging("framemesh", os.environ.get("FRAMEMESH_LOG", "warning"))
        code = asyncio.run(options.run(options))
    except MeshError as error:
        if options.json:
            print(msgspec.json.encode({"error": error.info}).decode())
        print(f"error {error.code}: {error.message}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `framemesh status | head`
        code = 0
    sys.exit(code)


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--from -10s` as `--from=-10s`: argparse would take the time for an option."""
    joined: list[str] = []
    for argument in arguments:
        if _PAST.match(argument) and joined and joined[-1] in _TIMES:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="framemesh",
        description="A mesh of small services for live video at the edge.",
        epilog=_EPILOG,
        formatter_class=form,
    )
    parser.add_argument("--version", action="version", version=f"framemesh {VERSION}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="answer in JSON, for machines")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        up,
        status,
        top,
        stats,
        fleet,
        sessions,
        channels,
        devices,
        snapshot,
        record,
        recordings,
        clip,
        fetch,
        extract,
        jobs,
        mix,
        signal,
        profile,
        apply,
        backup,
        restore,
        call,
        audit,
        trace,
        token,
        secrets,
        nats_config,
        nats_setup,
        doctor,
    ):
        name = module.__name__.rsplit(".", 1)[-1].replace("_", "-")
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(
            name,
            parents=[common],
            help=module.HELP,
            description=text.partition("\n\n")[0],
            epilog=text.partition("\n\n")[2],
            formatter_class=form,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    main()

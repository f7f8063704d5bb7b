"""Start a mesh on this machine: the bus and every service, until Ctrl-C.

examples:
  framemesh up --demo                              a test picture with sound
  framemesh up --source clip.mp4                   a file, looped, as stream cam0
  framemesh up --source rtsp://user:pw@camera/1    a camera
  framemesh up mesh.yaml                           everything from a file
  framemesh up --secure mesh.yaml                  with a bus that lets each service do its own work and no more
  framemesh up --json                              one JSON object when ready, for scripts
"""

import argparse
import asyncio
import shlex
import sys

import msgspec

from schemas.commands import StartStream
from schemas.mesh_file import MeshPlan
from services.cli.apply import show_applied
from services.cli.connection import begin_story
from services.cli.paths import path_argument, source_argument
from services.launcher.up import Mesh, Ready, UpOptions, until_signal
from shared.mesh_file import load_mesh_file

HELP = "start a mesh on this machine"
_DEMO = StartStream(stream="demo", source="test://?size=1280x720&fps=30", timecode=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=path_argument, metavar="mesh.yaml", help="streams and outputs to start")
    parser.add_argument("--demo", action="store_true", help="add a stream `demo`: moving picture, tone, time code")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        type=source_argument,
        metavar="URL",
        help="add a stream of this URL or file as cam0 (again: cam1, …)",
    )
    parser.add_argument("--nats", metavar="URL", default="", help="use this NATS server instead of the bundled one")
    parser.add_argument(
        "--secure", action="store_true", help="lock the bundled server: TLS, and a user for each service"
    )
    parser.add_argument("--auto-ports", action="store_true", help="take free ports where the usual ones are taken")
    parser.add_argument("--verbose", action="store_true", help="show the services' logs from level info")


async def run(options: argparse.Namespace) -> int:
    plan = load_mesh_file(options.file) if options.file else MeshPlan()
    added = [_DEMO] if options.demo else []
    added += [StartStream(stream=f"cam{number}", source=url) for number, url in enumerate(options.source)]
    plan = msgspec.structs.replace(plan, streams=(*plan.streams, *added))
    if not options.json:
        print("starting …", file=sys.stderr, flush=True)
    up_options = UpOptions(
        plan=plan,
        nats_url=options.nats,
        auto_ports=options.auto_ports,
        secure=options.secure,
        verbose=options.verbose,
    )
    await until_signal(_up(up_options, as_json=options.json))
    return 0


async def _up(options: UpOptions, *, as_json: bool) -> None:
    async with Mesh.up(options) as mesh:
        print(msgspec.json.encode(mesh.ready).decode() if as_json else _one_line(mesh.ready), flush=True)
        if options.plan != MeshPlan():
            begin_story()
            await show_applied(mesh.apply(options.plan), as_json=as_json)
        elif not as_json:
            print("  no streams yet; the console shows how to add one", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            if not as_json:
                print("stopping …", file=sys.stderr, flush=True)


def _one_line(ready: Ready) -> str:
    metrics = " ".join(ready.metrics[service] for service in sorted(ready.metrics))
    rtsp = f"  rtsp {ready.rtsp}<stream>" if ready.rtsp else ""
    mixing = f"  mixing {ready.mixing}" if ready.mixing else ""
    locked = f'\n  locked: eval "$(framemesh secrets env {shlex.quote(ready.secrets)} cli)"' if ready.secrets else ""
    return (
        f"framemesh is up: console {ready.console}  whep {ready.whep}<stream>{rtsp}  "
        f"extraction {ready.extraction}{mixing}  nats {ready.nats}  metrics {metrics}{locked}"
    )

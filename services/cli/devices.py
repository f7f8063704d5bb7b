"""The cameras of the mesh: plugged in, or announced on the network.

examples:
  framemesh devices
  framemesh devices --refresh                  look again now
  framemesh devices --refresh --network        also ask the network for ONVIF and GigE cameras, about 2 s
  framemesh devices --json | jq '.[].devices[] | {source, controls}'

What stands under SOURCE is what to give to capture.start. The number (ID) belongs to the place a camera is plugged
into, and stays when it is unplugged.
"""

import argparse
import asyncio

import msgspec

from schemas.capture_commands import DeviceList, ListDevices
from schemas.devices import Device
from schemas.errors import MeshError, Unavailable
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected
from services.cli.table import table
from shared.bus import Bus
from shared.state import StateMirrors

HELP = "the cameras of the mesh"
_REPLY_SECONDS = 15.0  # two looks of 5 s: one that is under way, and this one
_HEADER = ("NODE", "ID", "KIND", "CAMERA", "FORMATS", "STREAM", "SOURCE")
_SHOWN_FORMATS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--refresh", action="store_true", help="look again now")
    parser.add_argument("--network", action="store_true", help="also ask the network")
    parser.add_argument("--node", metavar="NODE", help="of one node only")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    request = ListDevices(refresh=options.refresh, network=options.network)
    async with connected(options) as bus:
        nodes = [options.node] if options.node else await _nodes(bus)
        answers = await asyncio.gather(*(_ask(bus, node, request) for node in nodes))
    lists = [answer for answer in answers if isinstance(answer, DeviceList)]
    if options.json:
        print(msgspec.json.encode(lists).decode())
    else:
        print(describe(lists))
    problems = [f"{node}: {answer}" for node, answer in zip(nodes, answers, strict=True) if isinstance(answer, str)]
    if problems and not options.json:
        print("\nPROBLEMS", *(f"  {problem}" for problem in problems), sep="\n")
    return 1 if problems else 0


def describe(lists: list[DeviceList]) -> str:
    """The cameras as a table, and what is wrong with some."""
    rows = [_row(listed.node, device) for listed in lists for device in listed.devices]
    if not rows:
        return "no cameras found; for those on the network: framemesh devices --refresh --network"
    errors = [f"  {device.source}: {device.error}" for listed in lists for device in listed.devices if device.error]
    return "\n".join([*table([_HEADER, *rows]), *(["", "PROBLEMS", *errors] if errors else [])])


async def _nodes(bus: Bus) -> list[str]:
    mirrors = await StateMirrors.open(bus)
    try:
        nodes = sorted({presence.node for presence in mirrors.present("capture")})
    finally:
        await mirrors.close()
    if not nodes:
        raise Unavailable("capture runs on no node; framemesh status shows what runs")
    return nodes


async def _ask(bus: Bus, node: str, request: ListDevices) -> DeviceList | str:
    try:
        return await bus.request(command("capture", "devices", node), request, DeviceList, _REPLY_SECONDS)
    except MeshError as error:
        return error.message


def _row(node: str, device: Device) -> tuple[str, ...]:
    name = " ".join(part for part in (device.vendor, device.model) if part) or device.location
    formats = " ".join(one.pixel_format for one in device.formats[:_SHOWN_FORMATS])
    if len(device.formats) > _SHOWN_FORMATS:
        formats += f" +{len(device.formats) - _SHOWN_FORMATS}"
    return (
        node,
        str(device.location_id),
        device.kind,
        name,
        formats or "-",
        device.stream or ("-" if device.present else "not here"),
        device.source,
    )

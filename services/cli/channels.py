"""Who is in which Sora channel, at any gateway; tell them something, or end them.

examples:
  framemesh channels
  framemesh channels list "Room 1"
  framemesh channels push "Room 1" '{"lights": "on"}'
  framemesh channels push "Room 1" '{"lights": "on"}' --connection 33EGOZ37CRFGFBUBMSD6ZPGK3I
  framemesh channels end "Room 1" --reason "the end of the shift"
  framemesh channels --json | jq '.[].connections[] | {client_id, stream}'

STREAM is what the mesh calls what a client publishes.
"""

import argparse
import json
import time

import msgspec

from schemas.errors import BadRequest, InvalidValue
from schemas.sora import (
    ChannelConnection,
    ChannelInfo,
    ChannelList,
    DisconnectChannel,
    Disconnected,
    ListChannels,
    Pushed,
    PushToChannel,
)
from schemas.subjects import command
from services.cli.connection import add_nats_argument, connected
from services.cli.table import table
from services.cli.unanswered import tell_unanswered
from shared.bus import Bus

HELP = "who is in which Sora channel"
_SERVICE = "webrtc-gateway"
_REPLY_SECONDS = 3.0  # of a gateway that waits 1.5 s for the others
_HEADER = ("CHANNEL", "CONNECTION", "CLIENT_ID", "ROLE", "STREAM", "WATCHES", "SINCE", "GATEWAY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("list", "push", "end"), default="list", help="list: the default")
    parser.add_argument("channel", nargs="?", metavar="CHANNEL", help="its name")
    parser.add_argument("data", nargs="?", metavar="JSON", help="push: what clients get")
    parser.add_argument("--connection", metavar="ID", help="push, end: only this connection_id")
    parser.add_argument("--reason", default="", metavar="TEXT", help="end: for the log and the event")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    if options.what != "list" and options.channel is None:
        raise InvalidValue("CHANNEL", "", f"write `framemesh channels {options.what} CHANNEL`")
    if (options.what == "push") != (options.data is not None):
        raise InvalidValue("JSON", options.data or "", 'push takes what clients get: \'{"lights": "on"}\'')
    async with connected(options) as bus:
        if options.what == "push":
            return await _push(bus, options)
        if options.what == "end":
            return await _end(bus, options)
        return await _list(bus, options)


async def _list(bus: Bus, options: argparse.Namespace) -> int:
    request = ListChannels(channel=options.channel)
    listed = await bus.request(command(_SERVICE, "channels"), request, ChannelList, _REPLY_SECONDS)
    tell_unanswered(listed.unanswered, "theirs are not listed")
    if options.json:
        print(msgspec.json.encode(listed.channels).decode())
        return 0
    rows = [_row(channel, each) for channel in listed.channels for each in channel.connections]
    print("\n".join(table([_HEADER, *rows])) if rows else "nobody is in a channel")
    return 0


async def _push(bus: Bus, options: argparse.Namespace) -> int:
    try:
        data = json.loads(options.data)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f'JSON: {error}; quote it, for example \'{{"lights": "on"}}\'') from None
    request = PushToChannel(channel=options.channel, data=data, connection_id=options.connection)
    pushed = await bus.request(command(_SERVICE, "push"), request, Pushed, _REPLY_SECONDS)
    return _done(pushed.connections, pushed.unanswered, "told", options.json)


async def _end(bus: Bus, options: argparse.Namespace) -> int:
    request = DisconnectChannel(channel=options.channel, connection_id=options.connection, reason=options.reason)
    ended = await bus.request(command(_SERVICE, "disconnect"), request, Disconnected, _REPLY_SECONDS)
    return _done(ended.connections, ended.unanswered, "ended", options.json)


def _done(connections: tuple[str, ...], unanswered: tuple[str, ...], what: str, as_json: bool) -> int:
    tell_unanswered(unanswered, f"theirs may not be {what}")
    if as_json:
        print(msgspec.json.encode(connections).decode())
    else:
        print("\n".join(f"{what} {connection}" for connection in connections))
    return 0


def _row(channel: ChannelInfo, each: ChannelConnection) -> tuple[str, ...]:
    since = time.strftime("%H:%M:%S", time.localtime(each.connected_ns / 1e9)) if each.connected_ns else "connecting"
    # A stranger's text on a terminal: nothing that moves its cursor.
    client_id = "".join(character if character.isprintable() else "?" for character in each.client_id)
    return (
        channel.channel,
        each.connection_id,
        client_id,
        each.role,
        each.stream or "-",
        ",".join(each.watches) or "-",
        since,
        channel.node,
    )

"""Who watches over WebRTC, at any gateway, and how that goes; look at one session, or end it.

examples:
  framemesh sessions
  framemesh sessions --stream cam0
  framemesh sessions stats 4f1e2a
  framemesh sessions kick 4f1e2a --reason "moved to the wall"
  framemesh sessions kick --stream cam0
  framemesh sessions --json | jq '.[] | {client, rtt_ms, fraction_lost}'

A session is named by the first characters of its id, four at least. LOST and RTT are what viewers report once a
second, SHOWN is what clients of channels tell that they decode; `low<main` is a viewer whose line was too thin for
`main`.
"""

import argparse

import msgspec

from schemas.errors import InvalidValue
from schemas.sessions import KickSessions, ListSessions, SessionInfo, SessionStatsRequest
from schemas.subjects import DEFAULT_RENDITION
from services.cli.connection import add_nats_argument, connected
from services.cli.table import table
from services.cli.unanswered import tell_unanswered
from shared.gateways import Gateways, present_gateways

HELP = "who watches over WebRTC, and how that goes"
_SHOWN_ID_CHARACTERS = 8  # enough to tell sessions apart; --json has the whole id
_HEADER = (
    *("SESSION", "STREAM", "RENDITION", "STATE", "BITRATE", "LINE"),
    *("LOST", "RTT", "SHOWN", "MOVES", "GATEWAY", "CLIENT"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("list", "stats", "kick"), default="list", help="list: the default")
    parser.add_argument("session", nargs="?", metavar="ID", help="the first characters of a session's id")
    parser.add_argument("--stream", metavar="STREAM", help="list, kick: the sessions of this stream")
    parser.add_argument("--reason", default="", metavar="TEXT", help="kick: for the log and the event")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    if options.what == "list" and options.session is not None:
        raise InvalidValue("ID", options.session, "leave it out, or write `framemesh sessions stats ID`")
    if options.what == "stats" and options.session is None:
        raise InvalidValue("ID", "", "write `framemesh sessions stats ID`; `framemesh sessions` lists them")
    async with connected(options) as bus:
        present = await present_gateways(bus)
        gateways = Gateways(bus, lambda: present)
        if options.what == "stats":
            return await _stats(gateways, options)
        if options.what == "kick":
            return await _kick(gateways, options)
        return await _list(gateways, options)


async def _list(gateways: Gateways, options: argparse.Namespace) -> int:
    listed = await gateways.sessions(ListSessions(stream=options.stream))
    tell_unanswered(listed.unanswered, "theirs are not listed")
    if options.json:
        print(msgspec.json.encode(listed.sessions).decode())
    else:
        rows = [_HEADER, *map(_row, listed.sessions)]
        print("\n".join(table(rows)) if listed.sessions else "nobody watches")
    return 0


async def _stats(gateways: Gateways, options: argparse.Namespace) -> int:
    found = await gateways.stats(SessionStatsRequest(session=options.session))
    text = msgspec.json.encode(found)
    print((text if options.json else msgspec.json.format(text, indent=2)).decode())
    return 0


async def _kick(gateways: Gateways, options: argparse.Namespace) -> int:
    request = KickSessions(session=options.session, stream=options.stream, reason=options.reason)
    kicked = await gateways.kick(request)
    tell_unanswered(kicked.unanswered, "theirs may go on")
    if options.json:
        print(msgspec.json.encode(kicked.sessions).decode())
    else:
        print("\n".join(f"ended {session[:_SHOWN_ID_CHARACTERS]}" for session in kicked.sessions) or "nobody watched")
    return 0


def _row(info: SessionInfo) -> tuple[str, ...]:
    rendition = info.rendition
    if info.instead_of:
        rendition += f" for {info.instead_of}"
    elif info.thin:
        rendition += " (keys)" if info.keys_only else ""
        rendition += f"<{DEFAULT_RENDITION}"
    return (
        info.session[:_SHOWN_ID_CHARACTERS],
        info.stream,
        rendition,
        info.state,
        f"{info.bitrate / 1e6:.2f}M",
        "-" if info.available_bitrate is None else f"{info.available_bitrate / 1e6:.2f}M",
        f"{info.fraction_lost:.1%}",
        "-" if info.rtt_ms is None else f"{info.rtt_ms:.0f} ms",
        "-" if info.shown_fps is None else f"{info.shown_fps:.0f} fps",
        str(info.switches),
        info.node,
        info.client or info.kind,
    )

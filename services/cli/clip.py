"""Make one file of a stream from one moment to another, out of recordings and the packets in memory.

examples:
  framemesh clip cam0                                      the last 10 s
  framemesh clip cam0 --from -10s --to +5s                 waits for what is to come
  framemesh clip cam0 --from -10s --to +5s -o door.mp4     and copies it here
  framemesh clip cam0 --from 2026-05-04T10:00:00Z --to 2026-05-04T10:00:30Z --rendition main
  framemesh clip cam0 --from -10s --to +10m --no-wait      event `clip` of the stream tells of the end

Nothing is encoded: a clip begins with the key picture at or before --from. What is to be in it must have been recorded,
or lie in memory: the last 15 s of what somebody takes, and `history` of a stream or rendition always.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from schemas.errors import BadRequest, NotFound, Unavailable, error_from_code
from schemas.events import Event
from schemas.recordings import Clip, MakeClip
from schemas.subjects import command, event
from schemas.units import NS_PER_SECOND, parse_time
from services.cli.connection import add_nats_argument, connected
from services.cli.fetch import check_free, fetch, local
from services.cli.publishers import publisher_nodes
from services.cli.streams import find_stream
from shared.bus import Bus, Message

HELP = "one file of a stream from one moment to another"
_MAX_WAIT_SECONDS = 60.0  # of one command; for what takes longer the event is awaited
_MAKE_SECONDS = 30.0  # behind its end: an hour of 8 Mbit/s is 3.6 GB
_REPLY_MARGIN_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument("--from", dest="start", metavar="TIME", help="-10s (the default), or 2026-05-04T10:00:00Z")
    parser.add_argument("--to", dest="end", metavar="TIME", help="now (the default), +5s, or a time")
    parser.add_argument("--rendition", metavar="NAME", help="when left out, what was recorded")
    parser.add_argument("--file", dest="to", metavar="URL", help="file://….mp4, .mkv or .ts on the publisher's node")
    parser.add_argument("-o", "--output", metavar="PATH", help="copy it here as well")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for its end")
    parser.add_argument("--node", metavar="NODE", help="that has it, when the stream is no longer there")
    add_nats_argument(parser)


async def run(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in ("stream", "start", "end", "rendition", "to")}
    now_ns = time.time_ns()
    end_ns = parse_time(options.end or "now", "--to", now_ns)
    if options.no_wait and options.output:
        raise BadRequest("-o needs the finished clip; leave --no-wait out")
    wait_s = 0.0 if options.no_wait else max(0.0, (end_ns - now_ns) / NS_PER_SECOND) + _MAKE_SECONDS
    try:
        request = msgspec.convert(
            {
                "wait_s": min(wait_s, _MAX_WAIT_SECONDS),
                **{name: value for name, value in given.items() if value is not None},
            },
            MakeClip,
        )
    except msgspec.ValidationError as error:
        raise BadRequest(f"clip: {error}") from None
    path = local(options.output) if options.output else None
    if path is not None:
        await asyncio.to_thread(check_free, path)
    async with connected(options) as bus:
        node = options.node or await _node(bus, options.stream)
        subject = command("publisher", "clip", node)
        async with _Told.open(bus, options.stream) as told:
            clip = await bus.request(subject, request, Clip, request.wait_s + _REPLY_MARGIN_SECONDS)
            if clip.state == "waiting" and not options.no_wait:
                clip = await told.of(clip.clip, wait_s + _REPLY_MARGIN_SECONDS)
        if path is not None and clip.state == "finished":
            await fetch(bus, node, clip.file, path)
    if options.json:
        print(msgspec.json.encode(clip).decode())
    else:
        print(_said(clip, path))
    return 0


class _Told:
    """What event `clip` of a stream tells from now on."""

    def __init__(self) -> None:
        self._ended: dict[str, Clip] = {}
        self._changed = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, bus: Bus, stream: str) -> "AsyncIterator[_Told]":
        told = cls()
        subscription = await bus.subscribe(event("publisher", stream, "clip"), told._receive)
        try:
            yield told
        finally:
            await subscription.close()

    async def of(self, clip: str, timeout_seconds: float) -> Clip:
        """The clip when it has ended.

        Raises:
            MeshError: it has failed, or nothing is told in time.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while clip not in self._ended:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable(
                f"nothing is told of clip {clip}; publisher.recordings shows it when it is there"
            ) from None
        ended = self._ended[clip]
        if ended.state == "failed" and ended.error:
            raise error_from_code(ended.error.code, ended.error.message)
        return ended

    def _receive(self, message: Message) -> None:
        clip = msgspec.convert(msgspec.json.decode(message.data, type=Event).detail, Clip)
        self._ended[clip.clip] = clip
        self._changed.set()


async def _node(bus: Bus, stream: str) -> str:
    """Where the stream is, or, when it is no longer there, the only publisher.

    Raises:
        NotFound: there is no such stream, and more than one node may have something of it.
    """
    nodes = await publisher_nodes(bus)
    try:
        found = await find_stream(bus, stream)
    except NotFound:
        if len(nodes) > 1:
            raise
        return nodes[0]
    return found.spec.node or nodes[0]


def _said(clip: Clip, path: Path | None) -> str:
    if clip.state == "waiting":
        return f"{clip.stream}: clip {clip.clip} is waited for; event clip tells of its end"
    seconds = (clip.end_ns - clip.start_ns) / NS_PER_SECOND
    parts = [f"{clip.stream}: {seconds:.1f} s, {clip.size_bytes / 1e6:.1f} MB"]
    if clip.gaps_ns:
        parts.append(f"{clip.gaps_ns / NS_PER_SECOND:.1f} s of it were not kept")
    lines = [", ".join(parts), f"  {path or clip.file_name}"]
    if clip.error:
        lines.append(f"  {clip.error.message}")
    return "\n".join(lines)

"""The commands of each running stream: a small service of its own, that answers as long as the stream is owned here."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TypeVar

from schemas.capture_commands import (
    ConfigureStream,
    PtzRequest,
    PtzStatus,
    RestartReply,
    RestartRequest,
    Snapshot,
    SnapshotRequest,
    StatsRequest,
    StreamStats,
    TriggerReply,
    TriggerRequest,
)
from schemas.commands import KeyFrameReply, KeyFrameRequest, StreamChanged
from schemas.errors import Unavailable
from schemas.subjects import command
from services.capture.configure import Configurator
from services.capture.device_calls import ask_device
from services.capture.settings import CaptureSettings
from services.capture.snapshot import Snapshots
from services.capture.sources.base import Source
from services.capture.stats import stream_stats
from services.capture.stream import StreamRunner
from shared.bus import Endpoint, Served
from shared.desired import error_in_reply
from shared.service import VERSION, Context

log = logging.getLogger(__name__)
ReplyT = TypeVar("ReplyT")


class StreamCommands:
    """Opens and closes the commands of this node's streams; finds the runner of a stream when it is asked something.

    They belong to the stream, not to its runner: a runner may be replaced while a command waits for that.
    """

    def __init__(
        self,
        context: Context[CaptureSettings],
        runners: Mapping[str, StreamRunner],
        snapshots: Snapshots,
        configurator: Configurator,
    ) -> None:
        self._context = context
        self._runners = runners
        self._snapshots = snapshots
        self._configurator = configurator
        self._served: dict[str, Served] = {}
        self._changing = asyncio.Lock()
        self._wanted: frozenset[str] = frozenset()
        self._poke = asyncio.Event()
        self._closed = False

    async def open(self, stream: str) -> None:
        """Answer for a stream from now on; nothing where that is so already."""
        async with self._changing:
            await self._open(stream)

    async def _open(self, stream: str) -> None:
        if stream in self._served or self._closed:
            return
        about = f"Commands of stream {stream}."
        self._served[stream] = await self._context.bus.serve(
            self._context.service, VERSION, about, self._endpoints(stream), {"stream": stream}
        )

    def keep_only(self, streams: Collection[str]) -> None:
        """These are the streams of this node; the others' commands end soon."""
        self._wanted = frozenset(streams)
        self._poke.set()

    async def run(self) -> None:
        """End the commands of streams that are gone, for ever."""
        # And open those that were wanted again so soon that their runner has not ended: nobody starts it then.
        while True:
            await self._poke.wait()
            self._poke.clear()
            async with self._changing:
                for stream in self._served.keys() - self._wanted:
                    await self._served.pop(stream).close()
                    self._snapshots.forget(stream)
                    self._configurator.forget(stream)
                for stream in self._wanted & self._runners.keys():
                    await self._open(stream)

    async def close(self) -> None:
        """End all, in parallel, and open none any more."""
        async with self._changing:
            self._closed = True
            await asyncio.gather(*(served.close() for served in self._served.values()))
            self._served.clear()

    def _endpoints(self, stream: str) -> list[Endpoint]:
        async def snapshot(request: SnapshotRequest) -> Snapshot:
            return await self._snapshots.take(stream, self._runner(stream), request)

        async def stats(_request: StatsRequest) -> StreamStats:
            return stream_stats(stream, self._context, self._runners.get(stream))

        async def configure(request: ConfigureStream) -> StreamChanged:
            return await self._configurator.configure(stream, request)

        async def trigger(_request: TriggerRequest) -> TriggerReply:
            return TriggerReply(triggered_ns=await self._at_source(stream, lambda source: source.trigger()))

        async def keyframe(request: KeyFrameRequest) -> KeyFrameReply:
            forced = await self._at_source(stream, lambda source: source.request_key_frame(request.rendition))
            return KeyFrameReply(forced=forced)

        async def restart(_request: RestartRequest) -> RestartReply:
            return RestartReply(restarted=self._runner(stream).restart())

        async def ptz(request: PtzRequest) -> PtzStatus:
            return await self._at_source(stream, lambda source: source.ptz(request))

        def subject(verb: str) -> str:
            return command(self._context.service, verb, stream)

        return [
            Endpoint(subject("snapshot"), SnapshotRequest, Snapshot, snapshot),
            Endpoint(subject("stats"), StatsRequest, StreamStats, stats),
            Endpoint(subject("configure"), ConfigureStream, StreamChanged, configure, error_in_reply),
            Endpoint(subject("trigger"), TriggerRequest, TriggerReply, trigger),
            Endpoint(subject("keyframe"), KeyFrameRequest, KeyFrameReply, keyframe),
            Endpoint(subject("restart"), RestartRequest, RestartReply, restart),
            Endpoint(subject("ptz"), PtzRequest, PtzStatus, ptz),
        ]

    def _runner(self, stream: str) -> StreamRunner:
        """Raises: Unavailable: it is being opened again at this moment, or could not be."""
        runner = self._runners.get(stream)
        if runner is None:
            raise Unavailable(f"{stream} does not run now; capture.list shows why")
        return runner

    async def _at_source(self, stream: str, ask: Callable[[Source], ReplyT]) -> ReplyT:
        """Ask the source that runs now, in a thread.

        Raises:
            Unavailable: none runs, or it does not answer.
            MeshError: the source's own.
        """
        runner = self._runner(stream)
        source = runner.source
        if source is None:
            actual = runner.actual
            why = f": {actual.error.message}" if actual and actual.error else ""
            raise Unavailable(f"{stream} is {actual.state if actual else 'connecting'}{why}")
        return await ask_device(stream, partial(ask, source))

"""Recordings that rules have begun, and when they end: kept in a file, so that a restart of this service ends them."""

import asyncio
import logging
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import Conflict, MeshError, NotFound, Unavailable
from schemas.recordings import Recording, StartRecording, StopRecording
from schemas.subjects import command
from schemas.units import NS_PER_SECOND
from shared.bus import Bus
from shared.tasks import set_within
from shared.whole_file import write_whole

log = logging.getLogger(__name__)

_REPLY_SECONDS: Final = 15.0
_AGAIN_NS: Final = 5 * NS_PER_SECOND  # a publisher that is away is asked again
_TRIES: Final = 120  # for ten minutes: by then somebody has looked


class RuleRecordings:
    """Belongs to the event loop; the file is written in threads."""

    def __init__(self, bus: Bus, path: Path) -> None:
        self._bus, self._path = bus, path
        self._ends: dict[str, int] = {}
        """CLOCK_REALTIME, by stream."""
        self._tries: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By stream: beginning and ending one take turns."""

    async def load(self) -> None:
        """What an earlier run of this service has left."""
        try:
            self._ends = msgspec.json.decode(await asyncio.to_thread(self._path.read_bytes), type=dict[str, int])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("%s: recordings that rules have begun are left running: %s", self._path, error)

    async def begin(self, request: StartRecording, end_ns: int) -> None:
        """Record until then; one that a rule has begun already goes on until the later moment.

        Raises:
            Conflict: somebody else records it, and ends it; or the stream is not live.
            MeshError: it cannot be recorded.
        """
        async with self._busy[request.stream]:
            ours = request.stream in self._ends
            # First: should this service die between the two, the next run ends it.
            self._ends[request.stream] = max(end_ns, self._ends.get(request.stream, 0))
            self._changed.set()
            await self._keep()
            try:
                await self._bus.request(command("publisher", "start-recording"), request, Recording, _REPLY_SECONDS)
            except Unavailable:  # it may have begun all the same
                raise
            except MeshError as error:
                if not ours:
                    self._ends.pop(request.stream, None)
                    await self._keep()
                elif isinstance(error, Conflict):
                    return
                raise

    async def run(self) -> None:
        """End what is due, until cancelled."""
        while True:
            self._changed.clear()
            for stream in [stream for stream, at_ns in self._ends.items() if at_ns <= time.time_ns()]:
                await self._end(stream)
            next_ns = min(self._ends.values(), default=None)
            seconds = None if next_ns is None else max(0.0, (next_ns - time.time_ns()) / NS_PER_SECOND)
            await set_within(self._changed, seconds)

    async def _end(self, stream: str) -> None:
        async with self._busy[stream]:
            if self._ends.get(stream, 0) > time.time_ns():  # a rule wants it longer, meanwhile
                return
            request = StopRecording(stream=stream)
            try:
                await self._bus.request(command("publisher", "stop-recording"), request, Recording, _REPLY_SECONDS)
            except NotFound:  # somebody else has ended it
                pass
            except MeshError as error:
                self._tries[stream] = self._tries.get(stream, 0) + 1
                log.warning("the recording of %s that a rule began is not ended yet: %s", stream, error.message)
                if self._tries[stream] < _TRIES:
                    self._ends[stream] = time.time_ns() + _AGAIN_NS
                    return
            self._tries.pop(stream, None)
            self._ends.pop(stream, None)
            try:
                await self._keep()
            except Unavailable as error:  # it is ended again by the next run, which does no harm
                log.error("%s", error.message)

    async def _keep(self) -> None:
        async with self._writing:
            data = msgspec.json.encode(self._ends)
            try:
                await asyncio.to_thread(self._write, data)
            except OSError as error:
                raise Unavailable(f"{self._path}: {error.strerror}") from None

    def _write(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, data)

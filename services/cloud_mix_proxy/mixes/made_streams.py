"""The streams that mixes have made: their own and their inputs'. Kept as wanted, and nothing else is touched."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from weakref import WeakValueDictionary

from schemas.commands import StartStream, StopStream, StreamChanged
from schemas.errors import BadRequest, Conflict, MeshError, NotFound, Unavailable
from schemas.resources import StreamActual, StreamSpec
from schemas.subjects import command
from shared.bus import Bus
from shared.desired import Desired
from shared.tasks import set_within

log = logging.getLogger(__name__)

Streams = Desired[StreamSpec, StreamActual]
CAPTURE = "capture"
_LOOK_SECONDS = 2.0  # what could not be started or removed is tried again; changes of others are heard of at once
_REPLY_SECONDS = 5.0
_ATTEMPTS = 4  # at a change that others change at the same moment


class _Changed(Exception):
    """Somebody else was faster; look again."""


class MadeStreams:
    """One per service. `run` keeps at it until cancelled."""

    def __init__(self, bus: Bus, node: str, streams: Streams, mixes: Callable[[], Collection[str]]) -> None:
        """`mixes`: those that this node shall run now."""
        self._bus, self._node, self._streams, self._mixes = bus, node, streams, mixes
        self._wanted: dict[str, dict[str, StreamSpec]] = {}
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._poke = asyncio.Event()

    async def want(self, mix: str, specs: Mapping[str, StreamSpec]) -> None:
        """From now on `mix` needs these streams, by id, and no others of its own.

        What capture cannot do now, as it is away, is done when it can; other streams of the mix go soon.

        Raises:
            Conflict: a stream of that name is somebody else's.
            MeshError: capture's own, of a source that can never be played.
        """
        before = self._wanted.get(mix, {})
        self._wanted[mix] = dict(specs)
        try:
            await asyncio.gather(*(self._start(mix, spec) for spec in specs.values()))
        except MeshError:
            self._wanted[mix] = before
            raise
        finally:
            self._poke.set()

    async def release(self, mix: str) -> None:
        """The mix is gone, and so shall its streams be.

        Raises:
            Unavailable: capture does not answer; `run` removes them when it does.
        """
        self._wanted[mix] = {}
        self._poke.set()
        await asyncio.gather(*(self._stop(mix, stream) for stream in self._made_for(mix)))

    def actual(self, stream: str) -> StreamActual | None:
        """What capture says of a stream, a mix's own or any other; None: nothing yet."""
        return self._streams.actual(stream)

    def forget(self, mix: str) -> None:
        """Its process ends here, its streams stay: the service goes on with them."""
        self._wanted.pop(mix, None)

    async def run(self) -> None:
        forget = self._streams.on_changed(self._poke.set)
        try:
            while True:
                await set_within(self._poke, _LOOK_SECONDS)
                self._poke.clear()
                await self._look()
        finally:
            forget()

    async def _look(self) -> None:
        mixes = self._mixes()
        for mix in self._wanted.keys() - set(mixes):
            if not self._made_for(mix):
                del self._wanted[mix]
        for stream, spec, _, _ in self._streams.all():
            owner = spec.made_for
            if owner is None or spec.node != self._node:
                continue
            unwanted = owner not in mixes or (owner in self._wanted and stream not in self._wanted[owner])
            if unwanted:
                await self._quietly(self._stop(owner, stream))
        for mix, specs in tuple(self._wanted.items()):
            if mix not in self._mixes():  # it is on its way out, and waits for its process
                continue
            for stream, spec in specs.items():
                if self._streams.spec(stream) is None:
                    await self._quietly(self._start(mix, spec))

    async def _quietly(self, step: Awaitable[None]) -> None:
        try:
            await step
        except MeshError as error:
            log.debug("tried again soon: %s", error)

    def _made_for(self, mix: str) -> list[str]:
        return [
            stream for stream, spec, _, _ in self._streams.all() if spec.made_for == mix and spec.node == self._node
        ]

    async def _start(self, mix: str, spec: StreamSpec) -> None:
        async with self._alone(spec.stream):
            for _ in range(_ATTEMPTS):
                with contextlib.suppress(_Changed):
                    await self._start_once(mix, spec)
                    return
        raise Conflict(f"stream {spec.stream!r} is being changed by others all the time; try again")

    def _alone(self, stream: str) -> asyncio.Lock:
        return self._changing.setdefault(stream, asyncio.Lock())

    async def _start_once(self, mix: str, spec: StreamSpec) -> None:
        found = await self._found(spec.stream)
        if found is not None and found[0].made_for != mix:
            raise Conflict(f"stream {spec.stream!r} exists already; choose another name, or stop that one first")
        if found is not None and _same(found[0], spec):
            return
        request = StartStream(
            **{name: getattr(spec, name) for name in StreamSpec.__struct_fields__},
            revision=found[1] if found else 0,
            wait_s=0,
        )
        try:
            await self._bus.request(command(CAPTURE, "start"), request, StreamChanged, _REPLY_SECONDS)
        except Conflict as error:  # of the revision, or the source's own
            now = await self._found(spec.stream)
            if (now[1] if now else 0) == request.revision:
                raise
            raise _Changed from error
        except Unavailable as error:
            log.info("stream %s is started when capture is there: %s", spec.stream, error)
        except BadRequest as error:  # capture speaks of the stream's source; who asked knows the input
            raise BadRequest(f"input {spec.stream.removeprefix(mix + '-')}: {error.message}") from None

    async def _found(self, stream: str) -> tuple[StreamSpec, int] | None:
        # As the bus has it: this copy may be of before what this mix itself asked for a moment ago.
        try:
            return await self._streams.read(stream)
        except Unavailable:
            return self._streams.spec(stream)

    async def _stop(self, mix: str, stream: str) -> None:
        async with self._alone(stream):
            await self._stop_once(mix, stream)

    async def _stop_once(self, mix: str, stream: str) -> None:
        found = await self._found(stream)
        # Another node may have made one for a mix of this name meanwhile.
        if found is None or found[0].made_for != mix or found[0].node != self._node:
            return
        request = StopStream(stream=stream, revision=found[1], wait_s=0)
        try:
            await self._bus.request(command(CAPTURE, "stop"), request, StreamChanged, _REPLY_SECONDS)
        except NotFound:  # somebody was faster
            return


def _same(there: StreamSpec, wanted: StreamSpec) -> bool:
    """Whether asking again would change nothing, as far as this can be seen: not of what has credentials."""
    return not there.source_secret and there == wanted

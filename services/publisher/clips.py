"""Clips: asked for, waited for where their end is to come, made, told of.

What is asked for is kept on disk until it is made, so that a restart of this service goes on with it: the order, and
beside it the packets that have come meanwhile, because a packet ring may be shorter than the wait.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.errors import InternalError, InvalidValue, MeshError, NotFound, TooMany, error_from_code
from schemas.recordings import Clip, MakeClip
from schemas.resources import StreamActual, StreamSpec
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION, command
from schemas.units import NS_PER_SECOND, parse_time
from services.publisher.clip_maker import ClipMaker, output_spec
from services.publisher.clip_orders import ClipOrder, ClipOrders
from services.publisher.clip_spool import ClipSpool
from services.publisher.file_set import INDEXED
from services.publisher.outputs import format_of, make_output
from services.publisher.renditions import check_rendition
from services.publisher.settings import PublisherSettings
from shared.bus import Endpoint
from shared.demand import Wants
from shared.desired import Desired
from shared.service import Context
from shared.state import StateMirrors
from shared.tasks import end_tasks

_log = logging.getLogger(__name__)

Streams = Desired[StreamSpec, StreamActual]
# A picture may reach the ring so long after it was captured: encoders that look ahead, and a busy machine.
_LATE_SECONDS: Final = 3.0
# How often the ring is looked at: an encoder's shortest setting keeps 1 s, the usual one 15 s.
_LOOK_SECONDS: Final = 0.5
_LAST_LOOK_SECONDS: Final = 0.1  # while the last picture is awaited
_MAX_TRIES: Final = 3  # restarts of the machine come in ones and twos
_MAX_MAKING: Final = 2  # at once; they share one disk


class Clips:
    """The clips of one node. Belongs to the event loop; the disk is touched in threads."""

    def __init__(
        self,
        context: Context[PublisherSettings],
        mirrors: StateMirrors,
        streams: Streams,
        wants: Wants,
        maker: ClipMaker,
    ) -> None:
        self._context, self._mirrors, self._streams = context, mirrors, streams
        self._wants, self._maker = wants, maker
        self._orders = ClipOrders(context.settings.data_dir / "publisher" / "clips")
        self._tasks: dict[str, asyncio.Task[Clip]] = {}
        self._beginning = 0
        """Orders that are on their way to the disk."""
        self._making = asyncio.Semaphore(_MAX_MAKING)

    def endpoints(self, service: str) -> list[Endpoint]:
        return [Endpoint(command(service, "clip", self._context.node), MakeClip, Clip, self.make)]

    async def resume(self) -> None:
        """Go on with what an earlier run of this service has not finished."""
        for order in await asyncio.to_thread(self._orders.load):
            _log.info("clip %s of %s is gone on with", order.clip, order.stream)
            self._begin(order, waiting=True)

    async def close(self) -> None:
        """Leave what is not finished to the next run."""
        await end_tasks(*self._tasks.values())

    async def make(self, request: MakeClip) -> Clip:
        """A clip; when it is not finished after `wait_s` its state is `waiting`, and event `clip` tells of its end.

        Raises:
            InvalidValue: a time is none, they are the wrong way round, too far apart or too far ahead; or `to`.
            NotFound: there is no such stream or rendition, or nothing is kept of that time.
            TooMany: so many clips are waiting.
            OutOfSpace: the disk has no room.
        """
        order = await self._order(request)
        if (others := len(self._tasks) + self._beginning) >= self._context.settings.clips_waiting:
            raise TooMany(f"{others} clips are waited for and made; try again when event clip tells of one")
        self._beginning += 1
        try:
            await asyncio.to_thread(self._orders.keep, order)
        finally:
            self._beginning -= 1
        task = self._begin(order, waiting=order.end_ns > time.time_ns())
        await asyncio.wait({task}, timeout=request.wait_s)
        if not task.done():
            return self._told(order)
        if task.cancelled():  # this service ends; the next run goes on
            return self._told(order)
        clip = task.result()
        if clip.error is not None and clip.state == "failed":
            raise error_from_code(clip.error.code, clip.error.message)
        return clip

    async def _order(self, request: MakeClip) -> ClipOrder:
        now_ns = time.time_ns()
        start_ns = parse_time(request.start, "start", now_ns)
        end_ns = parse_time(request.end, "end", now_ns)
        longest_ns = round(self._context.settings.clip_max_seconds * NS_PER_SECOND)
        if end_ns <= start_ns:
            raise InvalidValue("end", request.end, "write a time after start")
        if end_ns - start_ns > longest_ns or end_ns - now_ns > longest_ns:
            raise InvalidValue(
                "end", request.end, f"a clip ends {longest_ns // NS_PER_SECOND} s after its start and from now at most"
            )
        rendition = request.rendition
        kept = await asyncio.to_thread(self._maker.kept, request.stream, start_ns, end_ns)
        found = await self._streams.find(request.stream)
        if rendition is None:
            rendition = next((one.rendition for one in kept if one.covered_ns), None)
        covered = any(one.covered_ns for one in kept if one.rendition == rendition)
        if not covered and (found is None or end_ns <= now_ns):
            if found is None and not kept:
                raise NotFound(f"stream {request.stream!r} does not exist, and nothing of it is kept on this node")
            raise await asyncio.to_thread(self._maker.nothing, request.stream, start_ns, end_ns)
        actual = self._streams.actual(request.stream)
        if rendition is None:
            carried = actual is not None and "video" in actual.source_tracks
            rendition = SOURCE_RENDITION if carried else DEFAULT_RENDITION
        if not covered:
            await check_rendition(self._mirrors, request.stream, rendition, actual)
        order = ClipOrder(
            clip=f"c{secrets.token_hex(6)}",
            stream=request.stream,
            start_ns=start_ns,
            end_ns=end_ns,
            rendition=rendition,
            to=request.to,
        )
        self._check_destination(order)
        return order

    def _check_destination(self, order: ClipOrder) -> None:
        spec = output_spec(order, self._context.node)
        if format_of(spec, spec.to) not in INDEXED:
            raise InvalidValue("to", order.to.partition(":")[0], "a clip goes to file://….mp4, .mkv or .ts")
        make_output(spec, spec.to, self._context.settings.outputs)

    # -- one clip ------------------------------------------------------------------------------------------------

    def _begin(self, order: ClipOrder, *, waiting: bool) -> asyncio.Task[Clip]:
        task = self._context.spawn(self._run(order, waiting), f"clip {order.clip}")
        self._tasks[order.clip] = task
        task.add_done_callback(lambda _: self._tasks.pop(order.clip, None))
        return task

    async def _run(self, order: ClipOrder, waiting: bool) -> Clip:
        try:
            if waiting:
                await self._wait_for_end(order)
            async with self._making:
                clip = await asyncio.to_thread(self._make, order, waiting)
        except MeshError as error:
            clip = msgspec.structs.replace(self._told(order), state="failed", error=error.info)
        except Exception:  # a bug of ours: whoever waits for the clip must hear of it
            _log.exception("clip %s of %s", order.clip, order.stream)
            error_info = InternalError("the clip failed; see the log of the publisher").info
            clip = msgspec.structs.replace(self._told(order), state="failed", error=error_info)
        await asyncio.to_thread(self._orders.forget, order)
        self._context.event(order.stream, "clip", detail=msgspec.to_builtins(clip))
        return clip

    def _make(self, order: ClipOrder, waiting: bool) -> Clip:
        """In a thread.

        Raises:
            MeshError: why there is no clip.
        """
        if order.tries >= _MAX_TRIES:  # else what ends this service there would end it at every start
            raise InternalError(f"the publisher ended {order.tries} times while it made this clip; see its log")
        self._orders.keep(msgspec.structs.replace(order, tries=order.tries + 1))
        return self._maker.make(order, self._orders.packets(order) if waiting else None, self._orders.state_dir(order))

    async def _wait_for_end(self, order: ClipOrder) -> None:
        """Set aside what comes until the first picture after the end."""
        settings = self._context.settings
        spool = ClipSpool(settings.shm_dir, order, self._orders.packets(order), settings.clip_spool_bytes)
        stop_wanting = self._show_demand(order)
        try:
            while True:
                reached_ns = await asyncio.to_thread(spool.look)
                ahead_seconds = (order.end_ns - time.time_ns()) / NS_PER_SECOND
                if reached_ns > order.end_ns or ahead_seconds < -_LATE_SECONDS:
                    return
                # The ring tells nobody when it grows: it is looked at, more often than it forgets.
                await asyncio.sleep(min(_LOOK_SECONDS, max(ahead_seconds, _LAST_LOOK_SECONDS)))
        finally:
            stop_wanting()
            await asyncio.to_thread(spool.close)

    def _show_demand(self, order: ClipOrder) -> Callable[[], None]:
        found = self._streams.spec(order.stream)
        node = (found[0].node if found else None) or self._context.node
        return self._wants.want(node, order.stream, order.rendition, f"publisher-{order.clip}")

    def _told(self, order: ClipOrder) -> Clip:
        return Clip(
            clip=order.clip,
            stream=order.stream,
            node=self._context.node,
            state="waiting",
            start_ns=order.start_ns,
            end_ns=order.end_ns,
        )

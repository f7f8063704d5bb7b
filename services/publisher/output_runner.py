"""One output's life: its demand, its packets, its writer."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from schemas.commands import KeyFrameRequest
from schemas.errors import Unavailable
from schemas.ids import compound_id
from schemas.packets import PacketHeader, Track
from schemas.recordings import RECORDING_OUTPUT
from schemas.resources import OutputActual, OutputSpec, StreamActual, StreamSpec
from schemas.subjects import SOURCE_RENDITION, command
from schemas.units import parse_duration
from services.publisher.catch_up import CatchUp, Read, since
from services.publisher.disk_room import check_room
from services.publisher.progress import OutputProgress, Position
from services.publisher.renditions import has_layer
from services.publisher.settings import PublisherSettings
from services.publisher.writer import OutputWriter
from shared.bus import Bus
from shared.demand import Wants
from shared.desired import Desired
from shared.packets import PacketSubscription
from shared.reconcile import Reporter
from shared.secret_store import read_secret
from shared.service import Context
from shared.state import StateMirrors

log = logging.getLogger(__name__)

_TRACKS: tuple[Track, ...] = ("video", "opus", "aac")
_STOP_SECONDS = 6.0  # a file is closed in milliseconds; a push may sit in one last network call


class OutputRunner:
    """Runs one output as its spec says; see `shared.reconcile.Runner`."""

    def __init__(
        self,
        output_id: str,
        context: Context[PublisherSettings],
        reporter: Reporter,
        wants: Wants,
        mirrors: StateMirrors,
    ) -> None:
        """`mirrors`: tell what is known of the stream, and on which node its packets are made."""
        self._id = output_id
        self._context = context
        self._reporter = reporter
        self._wants = wants
        self._mirrors = mirrors
        self._streams = Desired("capture", StreamSpec, StreamActual, mirrors)
        self._outputs = Desired("publisher", OutputSpec, OutputActual, mirrors)
        self._wanted_on = ""
        """The node that this output shows demand on."""
        self._stop_wanting: Callable[[], None] = _nothing
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._actual: OutputActual | None = None
        self._undo = contextlib.AsyncExitStack()
        self._spec: OutputSpec | None = None
        self.writer: OutputWriter | None = None

    async def start(self, spec: OutputSpec, revision: int) -> None:
        """Begin to take packets.

        Raises:
            InvalidValue: the destination can never work.
            NotFound: the secret of the destination is gone.
            OutOfSpace: a recording by hand shall begin, and the disk has no room for it.
        """
        bus, began_ns = self._context.bus, time.time_ns()
        self._spec = spec
        url = await read_secret(bus, spec.to_secret) if spec.to_secret else spec.to
        self._actual = OutputActual(
            stream=spec.stream,
            output=spec.output,
            rendition=spec.rendition,
            node=self._context.node,
            revision=revision,
            state="waiting",
            to=spec.to,
            preroll_ns=self._preroll_before(spec),
        )
        writer = OutputWriter(
            spec,
            url,
            self._context.settings.outputs,
            self._progress_from_thread,
            expected_tracks=self._expected_tracks(spec),
            on_need_key=lambda: _ask_for_key(bus, spec, self._streams.actual(spec.stream)),
            on_event=self._event_from_thread,
        )
        resume = await asyncio.to_thread(writer.resume_position)
        if spec.finish or writer.ended:
            self.writer = writer
            await asyncio.to_thread(writer.finish, _STOP_SECONDS)
            return
        if spec.output == RECORDING_OUTPUT and not writer.begun:
            await asyncio.to_thread(check_room, spec, url, self._context.settings.outputs)
        self.writer = writer
        writer.start()

        def begins_with(first: PacketHeader) -> None:
            if self._actual is not None and not resume:
                preroll_ns = max(0, began_ns - first.captured_ns)
                self._actual = msgspec.structs.replace(self._actual, preroll_ns=preroll_ns)

        catch_up = CatchUp(writer.feed, writer.feed_when_room, begins_with)
        read = self._past(spec, writer, resume)
        if read:
            catch_up.hold()
        subscription = await PacketSubscription.open(bus, spec.stream, spec.rendition, catch_up.receive)
        self._undo.push_async_callback(subscription.close)
        self._undo.callback(self._show_demand, "")
        self._undo.callback(self._mirrors.on_desired(self._follow))
        self._follow()
        if read:
            await catch_up.run(self._context.settings.shm_dir, spec, read)

    def _preroll_before(self, spec: OutputSpec) -> int:
        """What an earlier run of this service has told of the same output."""
        actual = self._outputs.actual(self._id)
        return actual.preroll_ns if actual and actual.to == spec.to and spec.preroll else 0

    def _past(self, spec: OutputSpec, writer: OutputWriter, resume: Position | None) -> Read | None:
        """What to take from the packet ring first, if anything."""
        if resume:
            return lambda ring: ring.after(resume.run, resume.index)
        if spec.preroll is None or writer.begun:
            return None
        return since(time.time_ns() - round(parse_duration(spec.preroll, "preroll") * 1e9))

    async def update(self, spec: OutputSpec, revision: int) -> bool:
        """Another spec is another output; the same one only has a new revision, or is to be finished.

        Raises:
            Unavailable: the disk does not take the end of a file.
        """
        if self._spec is None or self._actual is None or self.writer is None:
            return False
        if spec != self._spec:
            if spec != msgspec.structs.replace(self._spec, finish=True):
                return False
            await self._undo.aclose()
            if not await asyncio.to_thread(self.writer.finish, _STOP_SECONDS):
                raise Unavailable(f"{self._id}: the disk does not take the end of {self._actual.file}")
            self._spec = spec
        self._actual = msgspec.structs.replace(self._actual, revision=revision)
        self._reporter.report(self._id, self._actual)
        return True

    async def stop(self, *, removed: bool = False) -> None:
        """Write what has come, close the destination properly."""
        try:
            await self._undo.aclose()
            if self.writer:
                finished = await asyncio.to_thread(self.writer.stop, _STOP_SECONDS)
                if not finished:
                    log.warning("%s: the destination does not let go", self._id)
                if removed:
                    await asyncio.to_thread(self.writer.forget_position)
        finally:
            self._stopped = True  # after the writer's last words; a thread left behind has no more to say

    # -- demand ----------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Show demand where the stream is; it may have moved. Here while there is none, for the one that will come."""
        assert self._spec is not None
        found = self._streams.spec(self._spec.stream)
        node = (found[0].node if found else None) or self._wanted_on or self._context.node
        if node != self._wanted_on:
            self._show_demand(node)

    def _show_demand(self, node: str) -> None:
        """Show demand on `node` instead of where it was shown; nowhere when it is empty."""
        before, self._stop_wanting, self._wanted_on = self._stop_wanting, _nothing, node
        if node and (spec := self._spec):
            self._stop_wanting = self._wants.want(node, spec.stream, spec.rendition, f"publisher-{spec.output}")
        before()

    def _expected_tracks(self, spec: OutputSpec) -> tuple[Track, ...] | None:
        """What the rendition will have, so that the start waits for sound only if there is any; None: not known."""
        source = self._streams.actual(spec.stream)
        if source is None or source.video is None:
            return None
        if spec.rendition == SOURCE_RENDITION or has_layer(source, spec.rendition):
            return tuple(track for track in _TRACKS if track in source.source_tracks)
        return _TRACKS if source.audio else ("video",)

    # -- state -----------------------------------------------------------------------------------------------

    def _progress_from_thread(self, progress: OutputProgress) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(self._report, progress)

    def _event_from_thread(self, name: str, detail: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to hear it
            self._loop.call_soon_threadsafe(lambda: self._context.event(self._id, name, detail=detail))

    def _report(self, progress: OutputProgress) -> None:
        if self._actual is None or self._stopped:
            return
        shared: dict[str, Any] = {
            name: getattr(progress, name)
            for name in OutputProgress.__struct_fields__
            if name in OutputActual.__struct_fields__
        }
        files = progress.recorded if progress.state == "finished" else ()
        self._actual = msgspec.structs.replace(self._actual, **{**shared, "files": files})
        self._reporter.report(self._id, self._actual)


def _nothing() -> None:
    """What there is to withdraw before anything is wanted."""


def _ask_for_key(bus: Bus, spec: OutputSpec, source: StreamActual | None) -> None:
    """Ask the encoder for a key frame; a camera's own packets bring theirs when they do."""
    if has_layer(source, spec.rendition):
        request = msgspec.json.encode(KeyFrameRequest(rendition=spec.rendition))
        bus.post_from_thread(command("capture", "keyframe", spec.stream), request)
    elif spec.rendition != SOURCE_RENDITION:
        subject = command("hw-encode", "keyframe", compound_id(spec.stream, spec.rendition))
        bus.post_from_thread(subject, b"{}")

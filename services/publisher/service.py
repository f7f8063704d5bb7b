"""Commands of publisher, and the outputs this node owns."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas.commands import ListResources, OutputChanged, OutputEntry, OutputList, StartOutput, StopOutput
from schemas.errors import ErrorInfo, InvalidValue, NotFound
from schemas.ids import Id, compound_id
from schemas.recordings import RECORDING_OUTPUT
from schemas.resources import OutputActual, OutputSpec, StreamActual, StreamSpec
from schemas.subjects import command, state_key
from services.publisher.archive import Archive
from services.publisher.catalogue import Catalogue
from services.publisher.catch_up import check_preroll
from services.publisher.clip_maker import CLIP_OUTPUT, ClipMaker
from services.publisher.clips import Clips
from services.publisher.ended_recordings import ENDED
from services.publisher.file_limits import check_limits
from services.publisher.file_set import INDEXED
from services.publisher.metrics import register_metrics
from services.publisher.moments import Moments
from services.publisher.output_runner import OutputRunner
from services.publisher.outputs import OUTPUTS, format_of, make_output
from services.publisher.recorded_files import forget_all_but
from services.publisher.recordings import Recordings
from services.publisher.renditions import check_carried, check_rendition
from services.publisher.rtsp.door import serve_rtsp
from services.publisher.settings import PublisherSettings
from shared.bus import Endpoint, Entry
from shared.demand import Wants
from shared.desired import Desired, error_in_reply
from shared.reconcile import Reconciler, Reporter
from shared.secret_store import SecretField
from shared.service import VERSION, Context
from shared.state import StateMirrors, read_entry

SERVICE = "publisher"
# What capture has answered to a `start` reaches this copy of the state a moment later.
_NEWS_SECONDS = 1.0

_GUARDED = ("flv", "rtsp", "srt")
"""Formats whose addresses are judged at every attempt."""

Outputs = Desired[OutputSpec, OutputActual]
Streams = Desired[StreamSpec, StreamActual]


async def build(context: Context[PublisherSettings]) -> None:
    """Connect the parts: mirrors of the mesh's state, one runner per output, the commands."""
    mirrors = await StateMirrors.open(context.bus)
    context.stack.push_async_callback(mirrors.close)
    secret: SecretField[OutputSpec] = SecretField(context.bus, SERVICE, "to", stream_key=True)
    outputs = Outputs(SERVICE, OutputSpec, OutputActual, mirrors, secret)
    streams = Streams("capture", StreamSpec, StreamActual, mirrors)
    reporter = Reporter(context)
    context.stack.push_async_callback(reporter.flush)
    wants = Wants(context.bus)
    context.stack.push_async_callback(wants.close)

    def make(output_id: str) -> OutputRunner:
        return OutputRunner(output_id, context, reporter, wants, mirrors)

    def failed(_id: str, spec: OutputSpec, revision: int, error: ErrorInfo) -> OutputActual:
        return OutputActual(
            stream=spec.stream,
            output=spec.output,
            rendition=spec.rendition,
            node=context.node,
            revision=revision,
            state="failed",
            to=spec.to,
            error=error,
        )

    reconciler: Reconciler[OutputSpec, OutputRunner] = Reconciler(context, reporter, make, failed)
    context.stack.push_async_callback(reconciler.close)
    register_metrics(context.figures, reconciler.runners, context.settings.outputs.file_roots)
    await asyncio.to_thread(
        forget_all_but,
        context.settings.outputs.state_dir,
        lambda output_id: state_key(SERVICE, output_id) in mirrors.desired.entries,
    )
    reconciler.keep(outputs, lambda: outputs.owned(context.node))
    await serve_rtsp(context, mirrors, wants)
    commands = _Commands(context, mirrors, outputs, streams)
    recordings = Recordings(context, mirrors, outputs, streams)
    catalogue = Catalogue(context.settings.outputs.file_roots, lambda: _being_written(reconciler.runners))

    def deleted(output_id: str, path: Path) -> None:
        runner = reconciler.runners.get(output_id)
        if runner is not None and runner.writer is not None:
            runner.writer.deleted(path)

    archive = Archive(context, catalogue, deleted)
    maker = ClipMaker(context.node, context.settings.shm_dir, context.settings.outputs, catalogue)
    clips = Clips(context, mirrors, streams, wants, maker)
    context.stack.push_async_callback(clips.close)
    await clips.resume()
    parts = (commands, recordings, archive, clips, Moments(context, catalogue))
    endpoints = [endpoint for part in parts for endpoint in part.endpoints(SERVICE)]
    served = await context.bus.serve(SERVICE, VERSION, "Renditions go where they are wanted.", endpoints)
    context.stack.push_async_callback(served.close)


def _being_written(runners: Mapping[str, OutputRunner]) -> list[str]:
    progress = [runner.writer.progress for runner in tuple(runners.values()) if runner.writer]
    return [one.file for one in progress if one.file and one.state not in ENDED]


class _Commands:
    def __init__(
        self, context: Context[PublisherSettings], mirrors: StateMirrors, outputs: Outputs, streams: Streams
    ) -> None:
        self._context = context
        self._mirrors = mirrors
        self._outputs = outputs
        self._streams = streams

    def endpoints(self, _service: str) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "start"), StartOutput, OutputChanged, self.start, error_in_reply),
            Endpoint(command(SERVICE, "stop"), StopOutput, OutputChanged, self.stop),
            Endpoint(command(SERVICE, "list"), ListResources, OutputList, self.list),
        ]

    async def start(self, request: StartOutput) -> OutputChanged:
        """Make or change an output.

        Raises:
            InvalidValue: the spec can never work.
            NotFound: there is no such stream.
            Conflict: stale revision, or the output cannot carry what the rendition has.
        """
        if request.to_secret:
            raise InvalidValue("to_secret", request.to_secret, "leave it out; write the full URL in to")
        spec = OutputSpec(**{name: getattr(request, name) for name in OutputSpec.__struct_fields__})
        check_preroll(spec)
        check_limits(spec, format_of(spec, spec.to))
        if spec.public_only and format_of(spec, spec.to) not in _GUARDED:
            raise InvalidValue("public_only", True, "is for what is pushed over RTMP, RTSP or SRT; leave it out")
        if spec.output == CLIP_OUTPUT:  # what is kept of such an output would be kept of clips, too
            raise InvalidValue("output", spec.output, "the clips of a stream have this name; choose another one")
        if format_of(spec, spec.to) not in INDEXED:
            if spec.finish:
                raise InvalidValue(
                    "finish", spec.finish, "only recordings are finished; end this output with publisher.stop"
                )
            if spec.output == RECORDING_OUTPUT:
                raise InvalidValue("output", spec.output, "recordings to files have this name; choose another one")
        found = await self._streams.find(spec.stream)
        # Unless told otherwise an output runs where its stream is: packets need not cross the network.
        node = spec.node or (found[0].node if found else None) or self._context.node
        if node == self._context.node:  # another node has folders of its own; its publisher judges
            make_output(spec, spec.to, self._context.settings.outputs)
        if found is None:
            raise NotFound(f"stream {spec.stream!r} does not exist; start it first with capture.start")
        source = await self._newest(spec.stream, found[1])
        await check_rendition(self._mirrors, spec.stream, spec.rendition, source)
        output = OUTPUTS[format_of(spec, spec.to)]
        await asyncio.to_thread(check_carried, self._mirrors, self._context.settings.shm_dir, spec, output, source)
        output_id = compound_id(spec.stream, spec.output)
        spec = msgspec.structs.replace(spec, node=node)
        return await self._outputs.apply(output_id, spec, request, OutputChanged)

    async def _newest(self, stream: Id, revision: int) -> StreamActual | None:
        """The stream's state as the answer to its newest spec, which may be on its way here."""
        key = state_key("capture", stream)

        def told(entries: dict[str, Entry]) -> bool:
            actual = read_entry(entries.get(key), StreamActual)
            return actual is not None and actual.revision >= revision

        await self._mirrors.actual.wait_for(told, _NEWS_SECONDS)
        return self._streams.actual(stream)

    async def stop(self, request: StopOutput) -> OutputChanged:
        """End an output; files are closed properly.

        Raises:
            NotFound: there is none of that name.
            Conflict: stale revision.
        """
        output_id = compound_id(request.stream, request.output)
        return await self._outputs.withdraw(output_id, request, OutputChanged)

    async def list(self, request: ListResources) -> OutputList:
        """Every output of the mesh, or those of one stream."""
        return OutputList(
            outputs=tuple(
                OutputEntry(revision=revision, spec=spec, actual=actual)
                for _, spec, revision, actual in self._outputs.shown()
                if request.stream in (None, spec.stream)
            )
        )

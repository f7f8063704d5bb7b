"""Commands of publisher, and the outputs this node owns."""

import msgspec

from schemas.commands import ListResources, OutputChanged, OutputEntry, OutputList, StartOutput, StopOutput
from schemas.errors import ErrorInfo, InvalidValue, NotFound
from schemas.ids import compound_id
from schemas.resources import OutputActual, OutputSpec, RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION, command
from services.publisher.metrics import register_metrics
from services.publisher.output_runner import OutputRunner
from services.publisher.outputs import format_of, make_output
from services.publisher.recordings import Recordings
from services.publisher.settings import PublisherSettings
from shared.bus import Endpoint
from shared.demand import Wants
from shared.desired import Desired, error_in_reply
from shared.reconcile import Reconciler, Reporter
from shared.secret_store import SecretField
from shared.service import VERSION, Context
from shared.state import StateMirrors

SERVICE = "publisher"
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
    register_metrics(context.figures, reconciler.runners)
    owned = outputs.owned(context.node)
    for output_id in outputs.leftovers(context.node, owned):
        reporter.remove(output_id)
    reconciler.want(owned)
    mirrors.on_desired(lambda: reconciler.want(outputs.owned(context.node)))
    commands = _Commands(context, mirrors, outputs, streams)
    recordings = Recordings(context, mirrors, outputs, streams)
    endpoints = [*commands.endpoints(), *recordings.endpoints(SERVICE)]
    served = await context.bus.serve(SERVICE, VERSION, "Renditions go where they are wanted.", endpoints)
    context.stack.push_async_callback(served.close)


class _Commands:
    def __init__(
        self, context: Context[PublisherSettings], mirrors: StateMirrors, outputs: Outputs, streams: Streams
    ) -> None:
        self._context = context
        self._mirrors = mirrors
        self._outputs = outputs
        self._streams = streams
        self._renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)

    def endpoints(self) -> list[Endpoint]:
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
            Conflict: stale revision.
        """
        if request.to_secret:
            raise InvalidValue("to_secret", request.to_secret, "leave it out; write the full URL in to")
        spec = OutputSpec(**{name: getattr(request, name) for name in OutputSpec.__struct_fields__})
        if format_of(spec, spec.to) != "mp4" and spec.finish:
            raise InvalidValue("finish", spec.finish, "only files are finished; end this output with publisher.stop")
        found = await self._streams.find(spec.stream)
        # Unless told otherwise an output runs where its stream is: packets need not cross the network.
        node = spec.node or (found[0].node if found else None) or self._context.node
        if node == self._context.node:  # another node has folders of its own; its publisher judges
            make_output(spec, spec.to, self._context.settings.outputs)
        if found is None:
            raise NotFound(f"stream {spec.stream!r} does not exist; start it first with capture.start")
        await self._check_rendition(spec)
        output_id = compound_id(spec.stream, spec.output)
        spec = msgspec.structs.replace(spec, node=node)
        return await self._outputs.apply(output_id, spec, request, OutputChanged)

    async def _check_rendition(self, spec: OutputSpec) -> None:
        """Refuse a rendition that nobody will ever make: the output would wait for it without a word.

        Raises:
            NotFound: names it, and the command that makes it.
        """
        if spec.rendition == SOURCE_RENDITION:
            source = self._streams.actual(spec.stream)
            if source and source.state == "live" and source.video and not source.source_tracks:
                raise NotFound(f"{spec.stream} has no packets of its own that can be carried; use rendition main")
        elif spec.rendition != DEFAULT_RENDITION:
            rendition_id = compound_id(spec.stream, spec.rendition)
            if await self._renditions.find(rendition_id) is None:
                raise NotFound(f"{spec.stream} has no rendition {spec.rendition!r}; make it first with hw-encode.start")

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
                for _, spec, revision, actual in self._outputs.all()
                if request.stream in (None, spec.stream)
            )
        )

"""Commands of samples, and the samples of this node's streams."""

from typing import Any

from schemas.commands import ListResources
from schemas.errors import BadRequest, ErrorInfo, NotFound, Unavailable
from schemas.ids import Id, compound_id
from schemas.resources import StreamActual, StreamSpec
from schemas.sample_resources import SampleActual, SampleSpec, check_sample
from schemas.samples import SampleChanged, SampleEntry, SampleList, StartSample, StopSample
from schemas.subjects import command
from services.frame_extractor.live.moments import Moments
from services.frame_extractor.live.samples.names import SampleNames
from services.frame_extractor.live.samples.sampler import Sampler
from services.frame_extractor.storage import Places, StorageError
from shared.bus import Endpoint
from shared.demand import Wants
from shared.desired import Desired, error_in_reply
from shared.reconcile import Reconciler, Reporter
from shared.ring import RingReader
from shared.service import Context
from shared.state import StateMirrors

_SERVICE = "frame-extractor"
_MAX_LEASES = 32  # one per sample that looks for motion, for the time of a look

Streams = Desired[StreamSpec, StreamActual]


class Samples:
    """Any instance answers; the one on the stream's node takes the pictures."""

    def __init__(
        self, context: Context[Any], mirrors: StateMirrors, moments: Moments, places: Places, wants: Wants
    ) -> None:
        self._context, self._mirrors, self._places = context, mirrors, places
        self._samples: Desired[SampleSpec, SampleActual] = Desired(_SERVICE, SampleSpec, SampleActual, mirrors)
        self._streams = Streams("capture", StreamSpec, StreamActual, mirrors)
        reader = RingReader(context.settings.shm_dir, max_leases=_MAX_LEASES)
        context.stack.callback(reader.close)
        reporter = Reporter(context)
        context.stack.push_async_callback(reporter.flush)

        def make(sample: str) -> Sampler:
            return Sampler(sample, context, reporter, moments, places, wants, reader)

        def failed(_: str, spec: SampleSpec, revision: int, error: ErrorInfo) -> SampleActual:
            return SampleActual(
                stream=spec.stream,
                sample=spec.sample,
                node=context.node,
                revision=revision,
                state="failed",
                error=error,
            )

        self._reconciler: Reconciler[SampleSpec, Sampler] = Reconciler(context, reporter, make, failed)
        context.stack.push_async_callback(self._reconciler.close)
        self._reconciler.keep(self._samples, self._owned)
        self._register()

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(_SERVICE, "start-sample"), StartSample, SampleChanged, self.start, error_in_reply),
            Endpoint(command(_SERVICE, "stop-sample"), StopSample, SampleChanged, self.stop),
            Endpoint(command(_SERVICE, "samples"), ListResources, SampleList, self.list),
        ]

    async def start(self, request: StartSample) -> SampleChanged:
        """Make or change a sample.

        Raises:
            InvalidValue: the spec can never work.
            NotFound: there is no such stream.
            Unavailable: no frame-extractor runs on the stream's node.
            Conflict: stale revision.
        """
        spec = SampleSpec(**{name: getattr(request, name) for name in SampleSpec.__struct_fields__})
        check_sample(spec)
        names = SampleNames(spec)
        found = await self._streams.find(spec.stream)
        if found is None:
            raise NotFound(f"stream {spec.stream!r} does not exist; start it first with capture.start")
        node = found[0].node or self._context.node
        if node == self._context.node:  # another node has folders of its own; its frame-extractor judges
            try:
                self._places.check_place(names.place(0, 0, 0))
            except StorageError as error:
                raise BadRequest(f"to: {error.message}") from None
        elif node not in {presence.node for presence in self._mirrors.present(_SERVICE)}:
            raise Unavailable(f"no frame-extractor runs on node {node}, where {spec.stream} is; start one there")
        return await self._samples.apply(compound_id(spec.stream, spec.sample), spec, request, SampleChanged)

    async def stop(self, request: StopSample) -> SampleChanged:
        """End a sample; its pictures stay.

        Raises:
            NotFound: there is none of that name.
            Conflict: stale revision.
        """
        return await self._samples.withdraw(compound_id(request.stream, request.sample), request, SampleChanged)

    async def list(self, request: ListResources) -> SampleList:
        """Every sample of the mesh, or those of one stream."""
        return SampleList(
            samples=tuple(
                SampleEntry(revision=revision, spec=spec, actual=actual)
                for _, spec, revision, actual in self._samples.shown()
                if request.stream in (None, spec.stream)
            )
        )

    def _owned(self) -> dict[Id, tuple[SampleSpec, int]]:
        """Those whose stream is on this node: its pictures are here."""
        owned = {}
        for sample, spec, revision, _ in self._samples.all():
            found = self._streams.spec(spec.stream)
            if found is not None and found[0].node == self._context.node:
                owned[sample] = (spec, revision)
        return owned

    def _register(self) -> None:
        def counted(field: str) -> list[tuple[dict[str, str], float]]:
            actuals = [runner.actual for runner in tuple(self._reconciler.runners.values())]
            return [
                ({"stream": actual.stream, "sample": actual.sample}, float(getattr(actual, field)))
                for actual in actuals
                if actual is not None
            ]

        figures = self._context.figures
        name = "framemesh_frame_extractor_sample"
        figures.counter(f"{name}_pictures", "Pictures that samples have written.", lambda: counted("pictures"))
        figures.counter(
            f"{name}_missed", "Pictures of samples that were due and are not there.", lambda: counted("missed")
        )

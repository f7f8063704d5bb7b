"""Commands of hw-encode, and the renditions of this node's streams.

Besides those asked for, every stream of this node has renditions that nobody needs to ask for; see `on_demand`.
"""

import asyncio

import msgspec

from schemas.commands import (
    ListResources,
    RenditionChanged,
    RenditionEntry,
    RenditionList,
    StartRendition,
    StopRendition,
)
from schemas.encoder_parameters import apply_parameters
from schemas.encoding import check_encoding
from schemas.errors import Conflict, ErrorInfo, InvalidValue, NotFound
from schemas.ids import compound_id
from schemas.resources import RenditionActual, RenditionSpec, StreamActual, StreamSpec
from schemas.stills import EncodedPicture, EncodePicture
from schemas.subjects import RAW, SOURCE_RENDITION, command
from services.hw_encode.application_rendition import ApplicationRendition, check_made_from
from services.hw_encode.codecs import Codecs
from services.hw_encode.encoders import try_encoders
from services.hw_encode.latency import LatencyFigure
from services.hw_encode.metrics import register_metrics
from services.hw_encode.on_demand import OnDemand
from services.hw_encode.picture_queue import check_queue
from services.hw_encode.pictures import PicturesOfStreams
from services.hw_encode.pipeline import Parts
from services.hw_encode.rendition import RenditionRunner
from services.hw_encode.settings import HwEncodeSettings
from services.hw_encode.stills import Stills
from shared.bus import Endpoint
from shared.demand import DemandBoard, Wants
from shared.desired import Desired, error_in_reply
from shared.packet_ring import sweep as sweep_packet_rings
from shared.reconcile import Reconciler, Reporter
from shared.ring import RingReader
from shared.service import VERSION, Context
from shared.state import StateMirrors

SERVICE = "hw-encode"
Renditions = Desired[RenditionSpec, RenditionActual]
Streams = Desired[StreamSpec, StreamActual]
AnyRendition = RenditionRunner | ApplicationRendition

# More streams than one machine encodes. A lease per rendition, and those of pictures that wait: each queue leaves the
# writer slots of its ring, so that this only bounds descriptors and memory.
_MAX_RINGS, _MAX_LEASES = 64, 512
_TRIM_SECONDS = 5.0  # how long the mapping of a removed ring may keep its memory


async def build(context: Context[HwEncodeSettings]) -> None:
    """Connect the parts: mirrors of the mesh's state, demand, one runner per rendition, the commands."""
    sweep_packet_rings(context.settings.shm_dir)
    mirrors = await StateMirrors.open(context.bus)
    context.stack.push_async_callback(mirrors.close)
    renditions = Renditions(SERVICE, RenditionSpec, RenditionActual, mirrors)
    streams = Streams("capture", StreamSpec, StreamActual, mirrors)
    reporter = Reporter(context)
    context.stack.push_async_callback(reporter.flush)
    wants = Wants(context.bus)
    context.stack.push_async_callback(wants.close)
    reader = RingReader(context.settings.shm_dir, max_leases=_MAX_LEASES, max_open_rings=_MAX_RINGS)
    context.stack.callback(reader.close)

    def wanted_here() -> dict[str, tuple[RenditionSpec, int]]:
        wanted = renditions.owned(context.node)
        for rendition_id, spec in on_demand.specs(streams.owned(context.node), context.node).items():
            if renditions.spec(rendition_id) is None:
                wanted[rendition_id] = (spec, 0)
        return wanted

    def demand_changed() -> None:
        if board is None:  # its first look at the demand is made below
            return
        on_demand.demand_changed(streams.owned(context.node), board.wanted)
        for rendition_id, runner in reconciler.runners.items():
            show_demand(rendition_id, runner)

    def show_demand(rendition_id: str, runner: AnyRendition) -> None:
        stream, _, rendition = rendition_id.partition("--")
        runner.set_demand(board is not None and board.wanted(stream, rendition))

    def make(rendition_id: str) -> AnyRendition:
        asked = renditions.spec(rendition_id)
        runner: AnyRendition
        if asked is not None and asked[0].made_from is not None:
            runner = ApplicationRendition(rendition_id, context, reporter, renditions)
        else:
            runner = RenditionRunner(rendition_id, reporter, parts)
        show_demand(rendition_id, runner)
        return runner

    def failed(_id: str, spec: RenditionSpec, revision: int, error: ErrorInfo) -> RenditionActual:
        return RenditionActual(
            stream=spec.stream,
            rendition=spec.rendition,
            node=context.node,
            revision=revision,
            state="failed",
            error=error,
        )

    codecs = Codecs(context.settings.isolate)
    context.stack.push_async_callback(asyncio.to_thread, codecs.close)
    context.spawn(_trim(reader), "trim-rings")
    # Tried now, so that the first viewer need not wait for it.
    context.spawn(asyncio.to_thread(try_encoders, codecs), "try-encoders")
    parts = Parts(context, reader, wants, LatencyFigure(), PicturesOfStreams(), codecs)
    reconciler: Reconciler[RenditionSpec, AnyRendition] = Reconciler(context, reporter, make, failed)
    stills = Stills(context.bus, context.node, reader, wants, lambda: set(streams.owned(context.node)))
    context.stack.callback(stills.close)
    register_metrics(context.figures, reconciler.runners, reader, stills)
    on_demand = OnDemand(context.settings.idle_seconds, lambda: reconciler.want(wanted_here()))
    context.stack.callback(on_demand.close)
    board: DemandBoard | None = None
    board = await DemandBoard.open(context.bus, context.node, demand_changed)
    context.stack.push_async_callback(board.close)
    context.stack.push_async_callback(reconciler.close)

    def wanted_now() -> dict[str, tuple[RenditionSpec, int]]:
        demand_changed()  # a stream may come after those who want it
        return wanted_here()

    reconciler.keep(renditions, wanted_now)
    commands = _Commands(context, mirrors, renditions, streams, stills)
    served = await context.bus.serve(SERVICE, VERSION, "Frames become packets.", commands.endpoints())
    context.stack.push_async_callback(served.close)


class _Commands:
    def __init__(
        self,
        context: Context[HwEncodeSettings],
        mirrors: StateMirrors,
        renditions: Renditions,
        streams: Streams,
        stills: Stills,
    ) -> None:
        self._context = context
        self._mirrors = mirrors
        self._renditions = renditions
        self._streams = streams
        self._stills = stills

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "start"), StartRendition, RenditionChanged, self.start, error_in_reply),
            Endpoint(command(SERVICE, "stop"), StopRendition, RenditionChanged, self.stop),
            Endpoint(command(SERVICE, "list"), ListResources, RenditionList, self.list),
            Endpoint(
                command(SERVICE, "pic-encode", self._context.node), EncodePicture, EncodedPicture, self._stills.encode
            ),
        ]

    async def start(self, request: StartRendition) -> RenditionChanged:
        """Make or change a rendition.

        Raises:
            InvalidValue: the spec can never work.
            NotFound: there is no such stream, or no rendition to make it from.
            Conflict: stale revision; an application's rendition has no encoder, and an encoder's no application.
        """
        if request.rendition in (SOURCE_RENDITION, RAW):
            raise InvalidValue(
                "rendition", request.rendition, "this name is taken by the source itself; choose another"
            )
        request = msgspec.structs.replace(request, **apply_parameters(request, request.parameters))
        check_encoding(request)
        found = await self._streams.find(request.stream)
        if found is None:
            raise NotFound(f"stream {request.stream!r} does not exist; start it first with capture.start")
        actual = self._streams.actual(request.stream)
        if actual is not None and any(layer.rendition == request.rendition for layer in actual.layers):
            raise Conflict(
                f"{compound_id(request.stream, request.rendition)} is sent by the publisher; choose another name"
            )
        node = found[0].node or self._context.node
        if request.node not in (None, node):
            raise InvalidValue("node", request.node, f"the frames of {request.stream} are on node {node}; leave it out")
        spec = RenditionSpec(**{name: getattr(request, name) for name in RenditionSpec.__struct_fields__})
        spec = msgspec.structs.replace(spec, node=node)
        check_queue(spec, found[0].delivery)
        await check_made_from(spec, self._renditions)
        return await self._renditions.apply(compound_id(spec.stream, spec.rendition), spec, request, RenditionChanged)

    async def stop(self, request: StopRendition) -> RenditionChanged:
        """Remove a rendition. `main` stays available on demand, with its defaults.

        Raises:
            NotFound: nobody asked for it.
            Conflict: stale revision.
        """
        return await self._renditions.withdraw(
            compound_id(request.stream, request.rendition), request, RenditionChanged
        )

    async def list(self, request: ListResources) -> RenditionList:
        """Every rendition that was asked for, or those of one stream."""
        return RenditionList(
            renditions=tuple(
                RenditionEntry(revision=revision, spec=spec, actual=actual)
                for _, spec, revision, actual in self._renditions.shown()
                if request.stream in (None, spec.stream)
            )
        )


async def _trim(reader: RingReader) -> None:
    while True:
        await asyncio.sleep(_TRIM_SECONDS)
        reader.trim()

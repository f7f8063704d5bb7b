"""Commands of capture, and the streams this node owns."""

import msgspec

from schemas.capture_commands import DeviceList, ListDevices
from schemas.commands import ListResources, StartStream, StopStream, StreamChanged, StreamEntry, StreamList
from schemas.errors import ErrorInfo, InvalidValue
from schemas.resources import StreamActual, StreamSpec
from schemas.subjects import command
from services.capture.attached_values import follow_values
from services.capture.configure import Configurator
from services.capture.devices import FINDERS
from services.capture.devices.inventory import Inventory
from services.capture.metrics import register_metrics
from services.capture.settings import CaptureSettings
from services.capture.snapshot import Snapshots
from services.capture.sources import check_here, check_source
from services.capture.stream import StreamRunner
from services.capture.stream_commands import StreamCommands
from services.capture.watch import Watch
from shared.bus import Endpoint
from shared.demand import DemandBoard
from shared.desired import Desired, error_in_reply
from shared.packet_ring import sweep as sweep_packet_rings
from shared.reconcile import Reconciler, Reporter
from shared.ring import sweep as sweep_frame_rings
from shared.secret_store import SecretField
from shared.service import VERSION, Context
from shared.state import StateMirrors

SERVICE = "capture"
Streams = Desired[StreamSpec, StreamActual]


async def build(context: Context[CaptureSettings]) -> None:
    """Connect the parts: mirrors of the mesh's state, demand, one runner per stream, the commands."""
    sweep_frame_rings(context.settings.shm_dir)
    sweep_packet_rings(context.settings.shm_dir)
    mirrors = await StateMirrors.open(context.bus)
    context.stack.push_async_callback(mirrors.close)
    secret: SecretField[StreamSpec] = SecretField(context.bus, SERVICE, "source")
    streams = Streams(SERVICE, StreamSpec, StreamActual, mirrors, secret)
    reporter = Reporter(context)
    context.stack.push_async_callback(reporter.flush)

    def demand_changed() -> None:
        for stream, runner in reconciler.runners.items():
            show_demand(stream, runner)

    def show_demand(stream: str, runner: StreamRunner) -> None:
        runner.set_demand(board.renditions(stream))

    def make(stream: str) -> StreamRunner:
        runner = StreamRunner(stream, context, reporter, stream_commands.open)
        show_demand(stream, runner)
        return runner

    def failed(stream: str, spec: StreamSpec, revision: int, error: ErrorInfo) -> StreamActual:
        return StreamActual(
            stream=stream, node=context.node, revision=revision, state="failed", source=spec.source, error=error
        )

    reconciler: Reconciler[StreamSpec, StreamRunner] = Reconciler(context, reporter, make, failed)
    board = await DemandBoard.open(context.bus, context.node, demand_changed)
    context.stack.push_async_callback(board.close)
    snapshots = Snapshots(context)
    context.stack.push_async_callback(snapshots.close)
    context.stack.push_async_callback(reconciler.close)
    stream_commands = StreamCommands(context, reconciler.runners, snapshots, Configurator(context, streams))
    context.stack.push_async_callback(stream_commands.close)
    context.spawn(stream_commands.run(), "stream-commands")
    await follow_values(context, reconciler.runners)
    register_metrics(context.figures, reconciler.runners, context.settings.shm_dir)
    context.spawn(Watch(reconciler.runners).run(), "watch")

    reconciler.keep(streams, lambda: streams.owned(context.node), stream_commands.keep_only)
    commands = _Commands(context, mirrors, streams)
    served = await context.bus.serve(SERVICE, VERSION, "Live sources become streams.", commands.endpoints())
    context.stack.push_async_callback(served.close)
    # One of those that share the node knows its cameras, and tells of them.
    share = context.share
    if share is None or share.leads():
        await _know_devices(context, streams)
    else:
        share.on_lead(lambda: context.spawn(_know_devices(context, streams), "know-devices"))


async def _know_devices(context: Context[CaptureSettings], streams: Streams) -> None:
    inventory = Inventory(context, streams, FINDERS)
    context.stack.push_async_callback(inventory.close)
    context.spawn(inventory.look(network=False), "first-look-for-devices")
    subject = command(SERVICE, "devices", context.node)
    answer = Endpoint(subject, ListDevices, DeviceList, inventory.devices)
    served = await context.bus.serve(SERVICE, VERSION, "Cameras of this node.", [answer], {"node": context.node})
    context.stack.push_async_callback(served.close)


class _Commands:
    def __init__(self, context: Context[CaptureSettings], mirrors: StateMirrors, streams: Streams) -> None:
        self._context = context
        self._mirrors = mirrors
        self._streams = streams

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "start"), StartStream, StreamChanged, self.start, error_in_reply),
            Endpoint(command(SERVICE, "stop"), StopStream, StreamChanged, self.stop),
            Endpoint(command(SERVICE, "list"), ListResources, StreamList, self.list),
        ]

    async def start(self, request: StartStream) -> StreamChanged:
        """Make or change a stream.

        Raises:
            InvalidValue, BadRequest: the spec can never work.
            Conflict: stale revision.
        """
        if request.source_secret:
            raise InvalidValue("source_secret", request.source_secret, "leave it out; write the full URL in source")
        spec = StreamSpec(**{name: getattr(request, name) for name in StreamSpec.__struct_fields__})
        check_source(spec)
        node = self._mirrors.choose_node(SERVICE, spec.node, self._context.node)
        if node == self._context.node:
            await check_here(spec, self._context.settings)
        spec = msgspec.structs.replace(spec, node=node)
        return await self._streams.apply(spec.stream, spec, request, StreamChanged)

    async def stop(self, request: StopStream) -> StreamChanged:
        """Remove a stream.

        Raises:
            NotFound: there is none of that name.
            Conflict: stale revision.
        """
        return await self._streams.withdraw(request.stream, request, StreamChanged)

    async def list(self, request: ListResources) -> StreamList:
        """Every stream of the mesh, or one."""
        return StreamList(
            streams=tuple(
                StreamEntry(revision=revision, spec=spec, actual=actual)
                for stream, spec, revision, actual in self._streams.shown()
                if request.stream in (None, stream)
            )
        )

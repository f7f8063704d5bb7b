"""Streams made of others: the mixes of this node, and the commands for those of the mesh."""

from schemas.mix_resources import MixActual, MixSpec
from schemas.resources import StreamActual, StreamSpec
from services.cloud_mix_proxy.edge.door import serve_edge
from services.cloud_mix_proxy.mixes.checks import Checks
from services.cloud_mix_proxy.mixes.commands import MixCommands
from services.cloud_mix_proxy.mixes.kept_stills import KeptStills
from services.cloud_mix_proxy.mixes.made_streams import CAPTURE, MadeStreams, Streams
from services.cloud_mix_proxy.mixes.metrics import register_metrics
from services.cloud_mix_proxy.mixes.parts import Mixes, MixParts
from services.cloud_mix_proxy.mixes.runner import MixRunner, failed
from services.cloud_mix_proxy.mixes.secrets import SERVICE, MixSecrets
from services.cloud_mix_proxy.settings import CloudMixProxySettings
from services.cloud_mix_proxy.tasks.records import Records
from services.cloud_mix_proxy.tasks.service import build_tasks
from shared.reconcile import Reconciler, Reporter
from shared.service import VERSION, Context
from shared.state import StateMirrors


async def build(context: Context[CloudMixProxySettings]) -> None:
    """Connect the parts: mirrors of the mesh's state, one runner per mix, their streams, the commands."""
    mirrors = await StateMirrors.open(context.bus)
    context.stack.push_async_callback(mirrors.close)
    mixes = Mixes(SERVICE, MixSpec, MixActual, mirrors, MixSecrets(context.bus))
    streams = Streams(CAPTURE, StreamSpec, StreamActual, mirrors)
    reporter = Reporter(context)
    context.stack.push_async_callback(reporter.flush)
    made = MadeStreams(context.bus, context.node, streams, lambda: mixes.owned(context.node))
    kept = KeptStills(context.settings.data_dir / "mixes")
    parts = MixParts(context, reporter, mixes, made, kept)
    reconciler: Reconciler[MixSpec, MixRunner] = Reconciler(
        context, reporter, lambda mix: MixRunner(mix, parts), failed(parts)
    )
    context.stack.push_async_callback(reconciler.close)
    reconciler.keep(mixes, lambda: mixes.owned(context.node))
    context.spawn(made.run(), "made-streams")
    context.spawn(kept.run(mixes, context.node), "kept-stills")
    register_metrics(context.figures, reconciler.runners, parts.counts)
    records = await Records.open(context.bus)
    context.stack.push_async_callback(records.close)
    commands = MixCommands(mixes, Checks(mirrors, mixes, streams, context.node), records.has_mix)
    tasks, of_tasks = await build_tasks(context, context.settings, mirrors, records, commands)
    endpoints = [*commands.endpoints(), *of_tasks]
    served = await context.bus.serve(SERVICE, VERSION, "Streams made of others.", endpoints)
    context.stack.push_async_callback(served.close)
    await serve_edge(context, context.settings, tasks, trusted=not context.settings.public_only)

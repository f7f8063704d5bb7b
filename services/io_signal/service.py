"""Outputs, inputs and rules of this node, and the commands for those of the mesh."""

from schemas.signal_resources import SIGNAL_STATES, Action, SignalActual, SignalSpec
from schemas.signals import ListSignals, SignalList
from schemas.subjects import command
from services.io_signal.hand.protocol import Setup
from services.io_signal.inputs.service import Inputs
from services.io_signal.link.hand_link import HandLink
from services.io_signal.metrics import register_metrics
from services.io_signal.rules.rules import Rules, build_rules
from services.io_signal.settings import IoSignalSettings
from services.io_signal.signals.audit import Audit
from services.io_signal.signals.commands import SignalCommands
from services.io_signal.signals.off_mode import OffModeFile
from services.io_signal.signals.parts import SERVICE, SignalParts, Signals
from services.io_signal.signals.runner import SignalRunner, failed
from services.io_signal.signals.sending import Sending
from shared.bus import Endpoint
from shared.demand import Wants
from shared.reconcile import Reconciler, Reporter
from shared.service import VERSION, Context
from shared.state import StateMirrors


async def build(context: Context[IoSignalSettings]) -> None:
    """Connect the parts: the hand that drives the devices, one runner per output, the inputs, the rules."""
    settings = context.settings
    mirrors = await StateMirrors.open(context.bus)
    context.stack.push_async_callback(mirrors.close)
    lock = settings.shm_dir / f".{SERVICE}-hand.{context.node}.lock"
    words = settings.data_dir / SERVICE / f"last-words.{context.node}.jsonl"
    setup = Setup(node=context.node, lock=str(lock), last_words=str(words), log=settings.log, limits=settings.limits)
    audit = Audit(context, words)
    link = HandLink(context, setup, audit.post_last_words)
    context.spawn(link.run(), "hand")
    context.stack.push_async_callback(link.close)
    wants = Wants(context.bus)
    context.stack.push_async_callback(wants.close)
    inputs = Inputs(context, mirrors, link, wants, settings.max_inputs)
    commands = _outputs(context, mirrors, link, inputs, audit)
    rules = await build_rules(context, settings, mirrors)
    everything = Listing(commands[0], inputs, rules)
    endpoints = [*(one for part in commands for one in part.endpoints()), *inputs.endpoints(), *rules.endpoints()]
    served = await context.bus.serve(
        SERVICE, VERSION, "Outputs and inputs of machines.", [*endpoints, everything.endpoint()]
    )
    context.stack.push_async_callback(served.close)


def _outputs(
    context: Context[IoSignalSettings], mirrors: StateMirrors, link: HandLink, inputs: Inputs, audit: Audit
) -> tuple[SignalCommands, Sending]:
    signals = Signals(SIGNAL_STATES, SignalSpec, SignalActual, mirrors)
    reporter = Reporter(context, SIGNAL_STATES)
    context.stack.push_async_callback(reporter.flush)
    off_mode = OffModeFile(context.settings.data_dir, context.node)
    parts = SignalParts(context, reporter, signals, link, off_mode, audit, inputs.times)
    reconciler: Reconciler[SignalSpec, SignalRunner] = Reconciler(
        context, reporter, lambda signal: SignalRunner(signal, parts), failed(parts)
    )
    context.stack.push_async_callback(reconciler.close)
    reconciler.keep(signals, lambda: signals.owned(context.node))
    inputs.look_on(lambda: {stream for spec, _ in signals.owned(context.node).values() for stream in spec.streams})
    register_metrics(context.figures, parts, link)
    return SignalCommands(parts, mirrors, reconciler.runners), Sending(parts, reconciler.runners)


class Listing:
    def __init__(self, signals: SignalCommands, inputs: Inputs, rules: Rules) -> None:
        self._signals, self._inputs, self._rules = signals, inputs, rules

    def endpoint(self) -> Endpoint:
        return Endpoint(command(SERVICE, "list"), ListSignals, SignalList, self.list)

    async def list(self, request: ListSignals) -> SignalList:
        """Outputs, inputs and rules of the mesh; of one stream those that belong to it."""
        signals, inputs, rules = self._signals.entries(), self._inputs.entries(), self._rules.entries()
        if (stream := request.stream) is not None:
            signals = tuple(entry for entry in signals if stream in entry.spec.streams)
            inputs = tuple(entry for entry in inputs if entry.spec.stream == stream)
            rules = tuple(entry for entry in rules if any(_is_of(action, stream) for action in entry.spec.do))
        return SignalList(signals=signals, inputs=inputs, rules=rules)


def _is_of(action: Action, stream: str) -> bool:
    return stream in (action.snapshot, action.clip, action.record)

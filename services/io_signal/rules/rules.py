"""The rules of this node, and the commands for those of the mesh."""

import asyncio
from typing import Any

from schemas.errors import Conflict, ErrorInfo, InvalidValue, NotFound
from schemas.resources import StreamActual, StreamSpec
from schemas.rule_checks import check_rule, texts_in
from schemas.signal_resources import RULE_STATES, RuleActual, RuleEntry, RuleSpec
from schemas.signals import DryRunRule, RuleChanged, RuleTested, StartRule, StopRule
from schemas.subjects import command
from services.io_signal.rules.commands import check_commands
from services.io_signal.rules.deeds import Deeds
from services.io_signal.rules.loops import check_loops
from services.io_signal.rules.metrics import register_metrics
from services.io_signal.rules.planning import SERVICE
from services.io_signal.rules.recordings import RuleRecordings
from services.io_signal.rules.runner import RuleRunner, dry_run
from services.io_signal.rules.settings import RuleSettings
from services.io_signal.rules.snapshots import Snapshots
from shared.bus import Endpoint
from shared.desired import Desired, error_in_reply
from shared.reconcile import Reconciler, Reporter
from shared.service import Context
from shared.state import StateMirrors
from shared.urls import redact


class Rules:
    """Any instance answers; the one on the rule's node acts."""

    def __init__(self, context: Context[Any], settings: RuleSettings, mirrors: StateMirrors, deeds: Deeds) -> None:
        self._context, self._settings, self._mirrors = context, settings, mirrors
        self.desired: Desired[RuleSpec, RuleActual] = Desired(RULE_STATES, RuleSpec, RuleActual, mirrors, owner=SERVICE)
        self._streams: Desired[StreamSpec, StreamActual] = Desired("capture", StreamSpec, StreamActual, mirrors)
        reporter = Reporter(context, RULE_STATES)
        context.stack.push_async_callback(reporter.flush)

        def make(rule: str) -> RuleRunner:
            def report(actual: RuleActual) -> None:
                reporter.report(rule, actual)

            return RuleRunner(rule, context, deeds, self._node_of, report, delays)

        def failed(rule: str, _: RuleSpec, revision: int, error: ErrorInfo) -> RuleActual:
            return RuleActual(rule=rule, node=context.node, revision=revision, state="failed", error=error)

        self._reconciler: Reconciler[RuleSpec, RuleRunner] = Reconciler(context, reporter, make, failed)
        context.stack.push_async_callback(self._reconciler.close)
        delays = register_metrics(context.figures, self._reconciler.runners)
        self._reconciler.keep(self.desired, lambda: self.desired.owned(context.node))

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "start-rule"), StartRule, RuleChanged, self.start, error_in_reply),
            Endpoint(command(SERVICE, "stop-rule"), StopRule, RuleChanged, self.stop),
            Endpoint(command(SERVICE, "test-rule"), DryRunRule, RuleTested, self.test),
        ]

    def entries(self) -> tuple[RuleEntry, ...]:
        """Every rule of the mesh, by name."""
        return tuple(
            RuleEntry(revision=revision, spec=spec, actual=actual) for _, spec, revision, actual in self.desired.shown()
        )

    async def start(self, request: StartRule) -> RuleChanged:
        """Act on events from now on, or change how.

        Raises:
            InvalidValue: the rule can never work; names the field and the fix.
            Conflict: stale revision, too many rules, or it would go round in a circle with others.
        """
        check_rule(request)
        check_commands(request)
        _check_secrets(request)
        fields = {name: getattr(request, name) for name in RuleSpec.__struct_fields__}
        fields["node"] = self._mirrors.choose_node(SERVICE, request.node, self._context.node)
        spec = RuleSpec(**fields)
        others = [rule for _, rule, _, _ in self.desired.all() if rule.rule != spec.rule]
        most = self._settings.max_rules
        if sum(rule.node == spec.node for rule in others) >= most:
            raise Conflict(f"node {spec.node} has {most} rules; stop one, or raise FRAMEMESH_IO_SIGNAL_MAX_RULES")
        await asyncio.to_thread(check_loops, spec, others)
        return await self.desired.apply(spec.rule, spec, request, RuleChanged)

    async def stop(self, request: StopRule) -> RuleChanged:
        """Act on its events no more.

        Raises:
            NotFound: there is none of that name.
            Conflict: stale revision.
        """
        return await self.desired.withdraw(request.rule, request, RuleChanged)

    async def test(self, request: DryRunRule) -> RuleTested:
        """What a rule would do with an event; nothing is done, and nothing counted.

        Raises:
            InvalidValue: neither or both of `rule` and `spec` are given, or the rule can never work.
            NotFound: there is no such rule.
            Conflict: it would go round in a circle with others.
        """
        if (request.rule is None) == (request.spec is None):
            raise InvalidValue("rule", request.rule, "give the name of a rule, or the whole of one in spec")
        if request.spec is not None:
            check_rule(request.spec, "spec.")
            check_commands(request.spec, "spec.")
            others = [rule for _, rule, _, _ in self.desired.all() if rule.rule != request.spec.rule]
            await asyncio.to_thread(check_loops, request.spec, others)
            return dry_run(request.spec, request.event, None, self._node_of)
        assert request.rule is not None
        found = await self.desired.find(request.rule)
        if found is None:
            raise NotFound(f"rule {request.rule!r} does not exist; {SERVICE}.list shows what does")
        return dry_run(found[0], request.event, self._reconciler.runners.get(request.rule), self._node_of)

    def _node_of(self, stream: str) -> str:
        found = self._streams.spec(stream)
        return (found[0].node if found else None) or self._context.node


async def build_rules(context: Context[Any], settings: RuleSettings, mirrors: StateMirrors) -> Rules:
    """The rules, and what they need on this node: the folder of their pictures, and the ends of their recordings."""
    folder = settings.data_dir / SERVICE / context.node
    recordings = RuleRecordings(context.bus, folder / "recordings.json")
    await recordings.load()
    context.spawn(recordings.run(), "recordings of rules")
    snapshots = Snapshots(folder / "snapshots", settings.snapshots_kept)
    return Rules(context, settings, mirrors, Deeds(context.bus, snapshots, recordings))


def _check_secrets(spec: RuleSpec) -> None:
    """A rule is kept as it is, and shown to whoever looks."""
    for number, action in enumerate(spec.do):
        for where, text in texts_in(action.given, f"do.{number}.given"):
            shown, secret = redact(text, stream_key=True)
            if secret:
                fix = "leave the password out: a rule is shown to everybody; start the stream or output beforehand"
                raise InvalidValue(where, shown, fix)

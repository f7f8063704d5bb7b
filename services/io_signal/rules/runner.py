"""One rule at work: events come in, those it is about wait for their turn, and are acted on one after the other."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.errors import ErrorInfo, MeshError
from schemas.events import Event
from schemas.rule_checks import pattern_of
from schemas.signal_resources import RuleActual, RuleSpec
from schemas.signals import RuleTested
from schemas.units import NS_PER_SECOND, parse_duration
from services.io_signal.rules.causes import chain_of, is_loop
from services.io_signal.rules.deeds import Deeds
from services.io_signal.rules.limits import Limits
from services.io_signal.rules.matching import has_fields, is_about, read_event, subject_of
from services.io_signal.rules.planning import NodeOf, instant_of, plan
from shared.bus import Message, Subscription
from shared.cause import begin, doing, of_trace
from shared.metrics import Distribution
from shared.service import Context
from shared.tasks import end_tasks

_MAX_WAITING: Final = 64  # events of one rule; at the usual 10 a second that is what a slow command holds up
_REPORT_SECONDS: Final = 1.0  # counts may change a thousand times in it
_LOOP_EVENT_SECONDS: Final = 1.0  # a loop that goes round a thousand times a second is told of once in it


class RuleRunner:
    """Belongs to the event loop."""

    def __init__(
        self,
        rule: str,
        context: Context[Any],
        deeds: Deeds,
        node_of: NodeOf,
        report: Callable[[RuleActual], None],
        delays: Distribution,
    ) -> None:
        """`delays`: seconds from an event's arrival to the first of its commands."""
        self._rule, self._context = rule, context
        self._deeds, self._node_of, self._report = deeds, node_of, report
        self._delays = delays
        self._spec: RuleSpec | None = None
        self._limits = Limits(0.0, 1)
        self._subscription: Subscription | None = None
        self._waiting: deque[tuple[Event, tuple[str, ...], int]] = deque()
        """Events with the rules that led to them, this one included, and when they came, monotonic ns."""
        self._filled, self._dirty = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._revision, self._since_ns = 0, 0
        self._error: ErrorInfo | None = None
        self._loop_told = float("-inf")
        self.fired, self._fired_ns = 0, 0
        self.left_out: Counter[str] = Counter()
        self.failed = 0
        """Actions."""

    async def start(self, spec: RuleSpec, revision: int) -> None:
        self._spec, self._revision, self._since_ns = spec, revision, time.time_ns()
        cooldown_seconds = parse_duration(spec.cooldown, "cooldown") if spec.cooldown else 0.0
        self._limits = Limits(cooldown_seconds, spec.at_most_per_minute)
        spawn = self._context.spawn
        self._tasks = [
            spawn(self._act(), f"rule {self._rule}"),
            spawn(self._tell(), f"rule {self._rule} state"),
        ]
        if spec.enabled:
            self._subscription = await self._context.bus.subscribe(subject_of(spec.when), self.receive)
            await self._context.bus.flush()  # an event that comes after the reply to `start-rule` is not missed
        self._report(self.actual())

    async def update(self, spec: RuleSpec, revision: int) -> bool:
        """Started again: what waits was meant for the rule before."""
        return False

    async def stop(self, *, removed: bool = False) -> None:
        if self._subscription is not None:
            await self._subscription.close()
        await end_tasks(*self._tasks)

    def actual(self) -> RuleActual:
        return RuleActual(
            rule=self._rule,
            node=self._context.node,
            revision=self._revision,
            state="failed" if self._error else "active",
            since_ns=self._since_ns,
            error=self._error,
            fired=self.fired,
            fired_ns=self._fired_ns,
            left_out=dict(self.left_out),
        )

    def receive(self, message: Message) -> None:
        """An event has come."""
        try:
            event = read_event(message.subject, message.data)
        except MeshError:  # counted, not logged: who posts nonsense may do so a thousand times a second
            self.left_out["unreadable"] += 1
            self._dirty.set()
            return
        reason = self.refuse(event)
        if not reason and len(self._waiting) >= _MAX_WAITING:
            reason = "queue"
        if reason:
            self.left_out[reason] += 1
            self._dirty.set()
            if reason == "loop":
                self._tell_loop(event)
            return
        self._limits.act(time.monotonic())
        self._waiting.append((event, (*chain_of(event), self._rule), time.monotonic_ns()))
        self._filled.set()

    def refuse(self, event: Event) -> str:
        """Why it is not acted on; empty: it is."""
        assert self._spec is not None
        return refuse(self._spec, event, self._limits)

    async def _act(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._waiting:
                await self._act_on(*self._waiting.popleft())

    async def _act_on(self, event: Event, chain: tuple[str, ...], came_ns: int) -> None:
        assert self._spec is not None
        planned = plan(self._spec, event, chain, self._node_of, time.time_ns())
        began_ns = time.monotonic_ns()
        self._delays.observe((began_ns - came_ns) / NS_PER_SECOND)
        # On with the story of the event; one that began by itself begins a story.
        cause = begin(of_trace(event.trace_id), actor=f"rule {self._rule}")
        with doing(cause, f"rule {self._rule}", "consumer"):
            done = [await self._deeds.do(one, event) for one in planned]
        errors = [deed.error for deed in done if deed.error]
        self.fired, self._fired_ns = self.fired + 1, time.time_ns()
        self.failed += len(errors)
        self._error = errors[-1] if errors else None
        self._dirty.set()
        detail = {
            "of": f"{event.service}.{event.id}.{event.event}",
            "at_ns": instant_of(event),
            "cause": chain,
            "delay_ns": began_ns - came_ns,
            "took_ns": time.monotonic_ns() - began_ns,
            "done": msgspec.to_builtins(done),
        }
        self._context.event(self._rule, "fired", error=self._error, detail=detail, trace_id=cause.trace_id)

    async def _tell(self) -> None:
        """Report what has changed, at most once a second."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._report(self.actual())
            await asyncio.sleep(_REPORT_SECONDS)

    def _tell_loop(self, event: Event) -> None:
        now = time.monotonic()
        if now - self._loop_told < _LOOP_EVENT_SECONDS:
            return
        self._loop_told = now
        of = f"{event.service}.{event.id}.{event.event}"
        detail = {"of": of, "cause": (*chain_of(event), self._rule)}
        self._context.event(self._rule, "loop", detail=detail)


def refuse(spec: RuleSpec, event: Event, limits: Limits | None) -> str:
    """Why a rule would not act on an event; empty: it would. `limits`: None where they are not known."""
    if not spec.enabled:
        return "disabled"
    if not is_about(pattern_of(spec.when), event):
        return "when"
    if not has_fields(spec.where, event):
        return "where"
    if is_loop(chain_of(event), spec.rule):
        return "loop"
    return limits.refuse(time.monotonic()) if limits is not None else ""


def dry_run(spec: RuleSpec, event: Event, runner: RuleRunner | None, node_of: NodeOf) -> RuleTested:
    """What a rule would do with an event. `runner`: where it runs here, so that its cooldown and rate count, too."""
    reason = runner.refuse(event) if runner is not None else refuse(spec, event, None)
    planned = plan(spec, event, (*chain_of(event), spec.rule), node_of, time.time_ns())
    commands = tuple(command for one in planned for command in one.commands)
    return RuleTested(acts=not reason, reason=reason, commands=() if reason else commands)

"""What is told of one output: its state in the mesh, and each of its changes as an event."""

import asyncio
import time
from typing import Final, get_args

import msgspec

from schemas.errors import ErrorInfo
from schemas.signal_resources import SignalActual, SignalState, SignalType
from schemas.units import NS_PER_SECOND
from services.io_signal.hand.protocol import Output
from services.io_signal.signals.parts import SignalFigures, SignalParts

_REPORT_SECONDS: Final = 0.1  # states in between are in the events
_TYPES: Final[tuple[SignalType, ...]] = get_args(SignalType)


class SignalStateTeller:
    """Belongs to the event loop."""

    def __init__(self, signal: str, parts: SignalParts) -> None:
        self._signal, self._parts = signal, parts
        self.figures = SignalFigures()
        self.actual = SignalActual(signal=signal, node=parts.context.node, revision=0, state="starting")
        self._since = time.time_ns()
        self._timer: asyncio.TimerHandle | None = None
        self._told_seconds = float("-inf")
        self.output = Output(signal=signal, on=False, known=False)

    def begin(self, revision: int) -> None:
        self._parts.figures[self._signal] = self.figures
        self.tell(revision=revision, state="starting", since_ns=time.time_ns(), safe_by="guard")

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._parts.figures.get(self._signal) is self.figures:
            del self._parts.figures[self._signal]

    def take(self, output: Output) -> None:
        """The hand says how the output is."""
        before, self.output = self.output, output
        state: SignalState = "on" if output.on else "off"
        if output.error is not None:
            state = "failed"
        elif not output.known:
            state = "starting"
        known = next((one for one in _TYPES if one == output.kind), None)
        self._change(
            state=state,
            error=output.error,
            until_ns=output.until_ns,
            type=known,
            by=output.by,
            why=output.why,
            waiting=output.waiting,
            changes=output.changes,
        )
        if output.changed:
            self._count(before, output)
            self._parts.audit.changed(output)

    def lost(self, error: ErrorInfo) -> None:
        """The hand has ended: nobody knows how the output is until the next one has it."""
        self.tell(state="starting", error=error, until_ns=0)

    def refused(self, error: ErrorInfo, *, on: bool, by: str, why: str) -> None:
        """A command was not done."""
        self.figures.results[str(error.code)] += 1
        detail = {"on": on, "by": by, "why": why}
        self._parts.audit.post(self._signal, "refused", detail, error=error)

    def tell(self, **changes: object) -> None:
        """Report now."""
        self._change_fields(changes)
        self._report()

    # -- inside ----------------------------------------------------------------------------------------------

    def _change(self, **changes: object) -> None:
        failure = changes["error"] != self.actual.error
        self._change_fields(changes)
        now = asyncio.get_running_loop().time()
        if failure or now - self._told_seconds >= _REPORT_SECONDS:
            self._report()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._report)

    def _change_fields(self, changes: dict[str, object]) -> None:
        if "state" in changes and changes["state"] != self.actual.state:
            changes = {"since_ns": time.time_ns(), **changes}
        self.actual = msgspec.structs.replace(self.actual, **changes)

    def _report(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._told_seconds = asyncio.get_running_loop().time()
        self._parts.reporter.report(self._signal, self.actual)

    def _count(self, before: Output, output: Output) -> None:
        self.figures.causes[output.cause] += 1
        if output.asked_ns:
            self.figures.latency.observe(max(output.edge_ns - output.asked_ns, 0) / NS_PER_SECOND)
            self.figures.results["done"] += 1
        if output.cause == "keep" and before.until_ns:
            self.figures.keep_error.observe(max(output.edge_ns - before.until_ns, 0) / NS_PER_SECOND)

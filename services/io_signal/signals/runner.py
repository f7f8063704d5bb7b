"""One output of this node: in the hand, with commands of its own for as long as it is owned here."""

import logging
import time
from collections.abc import Callable
from typing import Final

from schemas.errors import BadRequest, ErrorInfo, InvalidValue, MeshError, TooMany
from schemas.signal_resources import SignalActual, SignalSpec
from schemas.signals import ClearSignal, PulseSignal, SendTcp, SetSignal, SignalSet, TcpSent
from schemas.subjects import command
from schemas.units import NS_PER_SECOND, parse_duration
from services.io_signal.hand.protocol import Done, LetGo, Send, SetUp, Switch
from services.io_signal.link.hand_link import ASK_SECONDS
from services.io_signal.signals.parts import SERVICE, SignalParts
from services.io_signal.signals.signal_state import SignalStateTeller
from shared.bus import Endpoint, Served
from shared.cause import trace_id
from shared.service import VERSION

log = logging.getLogger(__name__)

_MS: Final = 1_000
_QUEUED_SECONDS: Final = 60.0  # for the pulses before it to end
_LONGEST_KEEP_MS: Final = 86_400_000


class SignalRunner:
    """See `shared.reconcile.Runner`, and `link.hand_link.Kept`."""

    def __init__(self, signal: str, parts: SignalParts) -> None:
        self._signal, self._parts = signal, parts
        self.state = SignalStateTeller(signal, parts)
        self._spec: SignalSpec | None = None
        self._served: Served | None = None

    # -- the reconciler's side -------------------------------------------------------------------------------

    async def start(self, spec: SignalSpec, revision: int) -> None:
        """Have the output in the hand: its safe state first.

        Raises:
            TooMany: no more of them on this node.
            MeshError: it can never work as it is.
        """
        parts = self._parts
        if len(parts.running) >= (most := parts.context.settings.max_signals):
            raise TooMany(f"{most} signals are on this node; stop one, or set FRAMEMESH_IO_SIGNAL_MAX_SIGNALS")
        parts.running.add(self._signal)
        self._spec = spec
        self.state.begin(revision)
        parts.link.outputs[self._signal] = self.state.take
        await self._set_up(spec)
        parts.link.kept[f"signal {self._signal}"] = self
        about = f"Commands of signal {self._signal}."
        self._served = await parts.context.bus.serve(
            SERVICE, VERSION, about, self._endpoints(), {"signal": self._signal}
        )

    async def update(self, spec: SignalSpec, revision: int) -> bool:
        """Have it otherwise: what does not touch the device changes while the output stays as it is."""
        self._spec = spec
        await self._set_up(spec)
        self.state.tell(revision=revision)
        return True

    async def stop(self, *, removed: bool = False) -> None:
        """Let go of it; it goes to its safe state."""
        link = self._parts.link
        link.kept.pop(f"signal {self._signal}", None)
        if self._served is not None:
            await self._served.close()
            self._served = None
        if self._signal in link.outputs:
            try:
                await link.ask(lambda number: LetGo(number=number, signal=self._signal))
            except MeshError as error:  # it is not there: the hand has ended, or never had it
                log.info("%s: %s", self._signal, error.message)
            del link.outputs[self._signal]
        self._parts.running.discard(self._signal)
        self.state.end()

    # -- the hand's side -------------------------------------------------------------------------------------

    def hand_lost(self, error: MeshError) -> None:
        self.state.lost(error.info)

    async def hand_back(self) -> None:
        assert self._spec is not None  # it was started
        await self._set_up(self._spec)

    async def _set_up(self, spec: SignalSpec) -> None:
        locked = self._parts.off_mode.active
        await self._parts.link.ask(lambda number: SetUp(number=number, spec=spec, safe=locked))
        if spec.safe == "hold" and not self.state.output.known:
            self.state.tell(state="off", error=None)  # as far as anybody knows: it is left as it is

    # -- commands --------------------------------------------------------------------------------------------

    async def on(self, request: SetSignal) -> SignalSet:
        """Set it.

        Raises:
            Conflict: off-mode is active.
            TooMany: its queue is full.
            Unavailable: the device does not have it.
        """
        arrived_ns = time.time_ns()
        captured_ns = self._captured_ns(request)
        return await self._switch(request, True, _keep_ms(request), arrived_ns, captured_ns)

    async def off(self, request: ClearSignal) -> SignalSet:
        """Clear it. Raises as `on`, but for off-mode."""
        return await self._switch(request, False, 0, time.time_ns(), None)

    async def pulse(self, request: PulseSignal) -> SignalSet:
        """Set it for a while. Raises as `on`, and:

        BadRequest: nobody says for how long.
        """
        arrived_ns = time.time_ns()
        keep_ms = _keep_ms(request)
        if keep_ms is None and (self._spec is None or self._spec.keep is None):
            raise BadRequest(f'keep missing: say how long, for example "200ms", or give {self._signal} a `keep`')
        return await self._switch(request, True, keep_ms, arrived_ns, self._captured_ns(request))

    async def send(self, request: SendTcp) -> TcpSent:
        """A text to its device.

        Raises:
            Unavailable: it does not take it, or its answer does not match.
        """
        self._refuse_other(request.signal)
        done = await self._parts.link.ask(
            lambda number: Send(number=number, signal=self._signal, text=request.message, reply=request.reply)
        )
        detail = {"by": request.by, "why": request.why, "characters": len(request.message), "sent_ns": done.edge_ns}
        self._parts.audit.post(self._signal, "sent", detail)
        return TcpSent(sent_ns=done.edge_ns, reply=done.reply)

    async def _switch(
        self,
        request: SetSignal | ClearSignal | PulseSignal,
        on: bool,
        keep_ms: int | None,
        arrived_ns: int,
        captured_ns: int | None,
    ) -> SignalSet:
        self._refuse_other(request.signal)
        told = {} if isinstance(request, ClearSignal) else {"kind": request.type or "", "stream": request.stream or ""}
        sequence = None if isinstance(request, ClearSignal) else request.sequence

        story = trace_id()

        def switch(number: int) -> Switch:
            return Switch(
                number=number,
                signal=self._signal,
                on=on,
                keep_ms=keep_ms,
                sequence=sequence,
                by=request.by,
                why=request.why,
                trace_id=story,
                asked_ns=arrived_ns,
                **told,
            )

        try:
            waits = self._spec is not None and self._spec.retrigger == "queue"
            done: Done = await self._parts.link.ask(switch, _QUEUED_SECONDS if waits else ASK_SECONDS)
        except MeshError as error:
            self.state.refused(error.info, on=on, by=request.by, why=request.why)
            raise
        since_capture_ns = None if captured_ns is None else done.edge_ns - captured_ns
        if since_capture_ns is not None:
            self.state.figures.since_capture.observe(max(since_capture_ns, 0) / NS_PER_SECOND)
        return SignalSet(
            signals=(self._signal,),
            on=on,
            edge_ns=done.edge_ns,
            latency_ns=done.edge_ns - arrived_ns,
            since_capture_ns=since_capture_ns,
            until_ns=done.until_ns,
        )

    def _refuse_other(self, signal: str | None) -> None:
        if signal not in (None, self._signal):
            raise InvalidValue(
                "signal", signal, f"this is the command of {self._signal}; leave it out, or ask for that one"
            )

    def _captured_ns(self, request: SetSignal | PulseSignal) -> int | None:
        """When the picture that it is about was captured; None where nobody knows."""
        if request.captured_ns is not None:
            return request.captured_ns
        if request.sequence is None or request.stream is None:
            return None
        return self._parts.captures.find(request.stream, request.epoch, request.sequence)

    def _endpoints(self) -> list[Endpoint]:
        def subject(verb: str) -> str:
            return command(SERVICE, verb, self._signal)

        return [
            Endpoint(subject("on"), SetSignal, SignalSet, self.on),
            Endpoint(subject("off"), ClearSignal, SignalSet, self.off),
            Endpoint(subject("pulse"), PulseSignal, SignalSet, self.pulse),
            Endpoint(subject("tcp-send"), SendTcp, TcpSent, self.send),
        ]


def _keep_ms(request: SetSignal | PulseSignal) -> int | None:
    """Raises:
    BadRequest: both are given, or it is too long.
    """
    given = request.keep_ms if isinstance(request, SetSignal) else None
    if request.keep is None:
        return given
    if given is not None:
        raise BadRequest("keep and keep_ms: give one of them")
    keep_ms = round(parse_duration(request.keep, "keep") * _MS)
    if not 0 < keep_ms <= _LONGEST_KEEP_MS:
        raise BadRequest(f"keep {request.keep!r}: give 1ms to 24h")
    return keep_ms


def failed(parts: SignalParts) -> Callable[[str, SignalSpec, int, ErrorInfo], SignalActual]:
    """What is told of an output that could not be set up."""

    def actual(signal: str, _spec: SignalSpec, revision: int, error: ErrorInfo) -> SignalActual:
        return SignalActual(
            signal=signal,
            node=parts.context.node,
            revision=revision,
            state="failed",
            since_ns=time.time_ns(),
            error=error,
        )

    return actual

"""Commands for the outputs of the mesh: any instance answers, and passes on what only the owner can do."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import Struct

from schemas.errors import BadRequest, Conflict, NotFound, Unavailable
from schemas.signal_resources import SIGNAL_STATES, SignalEntry, SignalSpec
from schemas.signals import (
    ClearSignal,
    OffMode,
    OffModeReply,
    PulseSignal,
    SetSignal,
    SignalChanged,
    SignalSet,
    StartSignal,
    StopSignal,
)
from schemas.subjects import command
from services.io_signal.hand.protocol import AllSafe
from services.io_signal.names import check_name
from services.io_signal.signals.checks import check_signal
from services.io_signal.signals.parts import SERVICE, SignalParts
from shared.bus import Endpoint
from shared.desired import error_in_reply
from shared.state import StateMirrors

if TYPE_CHECKING:
    from services.io_signal.signals.runner import SignalRunner

_REPLY_SECONDS: Final = 12.0  # of an owner on another node; longer than a hand is asked
ReplyT = TypeVar("ReplyT")


class SignalCommands:
    def __init__(self, parts: SignalParts, mirrors: StateMirrors, runners: "Mapping[str, SignalRunner]") -> None:
        self._parts, self._mirrors, self._runners = parts, mirrors, runners
        self._node = parts.context.node
        self._changing_mode = asyncio.Lock()

    def endpoints(self) -> list[Endpoint]:
        def at(verb: str) -> str:
            return command(SERVICE, verb)

        return [
            Endpoint(at("start"), StartSignal, SignalChanged, self.start, error_in_reply),
            Endpoint(at("stop"), StopSignal, SignalChanged, self.stop),
            Endpoint(at("on"), SetSignal, SignalSet, self.on),
            Endpoint(at("off"), ClearSignal, SignalSet, self.off),
            Endpoint(at("pulse"), PulseSignal, SignalSet, self.pulse),
            Endpoint(at("off-mode"), OffMode, OffModeReply, self.off_mode),
            Endpoint(command(SERVICE, "local-off-mode", self._node), OffMode, OffModeReply, self.local_off_mode),
        ]

    def entries(self) -> tuple[SignalEntry, ...]:
        """Every output of the mesh, by name."""
        return tuple(
            SignalEntry(revision=revision, spec=spec, actual=actual)
            for _, spec, revision, actual in self._parts.signals.shown()
        )

    async def start(self, request: StartSignal) -> SignalChanged:
        """Set an output up, or change how it is.

        Raises:
            InvalidValue, BadRequest: the spec can never work.
            Conflict: stale revision, its name is taken, or another signal has the same device and address.
        """
        check_signal(request)
        check_name(self._mirrors, SIGNAL_STATES, request.signal)
        fields = {name: getattr(request, name) for name in SignalSpec.__struct_fields__}
        fields["node"] = self._mirrors.choose_node(SERVICE, request.node, self._node)
        spec = SignalSpec(**fields)
        for name, other, _, _ in self._parts.signals.all():
            same = name != spec.signal and (other.node, other.mode, other.address) == (
                spec.node,
                spec.mode,
                spec.address,
            )
            if same and spec.mode not in ("tcp", "uart"):  # of those each text may be another output
                raise Conflict(f"address {spec.address}: signal {name} has it already; stop it first, or change it")
        return await self._parts.signals.apply(spec.signal, spec, request, SignalChanged)

    async def stop(self, request: StopSignal) -> SignalChanged:
        """Let go of an output; it goes to its safe state.

        Raises:
            NotFound: there is none of that name.
            Conflict: stale revision.
        """
        return await self._parts.signals.withdraw(request.signal, request, SignalChanged)

    async def on(self, request: SetSignal) -> SignalSet:
        """Set an output, or all of a stream that tell this type; answered when the devices have it.

        Raises:
            BadRequest: neither is given.
            NotFound: there is none.
            MeshError: of the first that failed; the others are set all the same.
        """
        if request.signal is not None:
            return await self._ask(request.signal, "on", request)
        if request.stream is None or request.type is None:
            raise BadRequest("signal missing: name a signal, or a stream and a type")
        names = [
            name
            for name, spec, _, _ in self._parts.signals.all()
            if request.stream in spec.streams and spec.type == request.type
        ]
        if not names:
            raise NotFound(f"no signal of stream {request.stream!r} has type {request.type}; give one both")
        each = [self._ask(name, "on", msgspec.structs.replace(request, signal=name)) for name in names]
        return _together(await asyncio.gather(*each, return_exceptions=True))

    async def off(self, request: ClearSignal) -> SignalSet:
        """Clear an output. Raises as `on`."""
        return await self._ask(request.signal, "off", request)

    async def pulse(self, request: PulseSignal) -> SignalSet:
        """Set an output for a while. Raises as `on`."""
        return await self._ask(request.signal, "pulse", request)

    async def off_mode(self, request: OffMode) -> OffModeReply:
        """All outputs of the mesh to their safe states, and no `on` until it is ended.

        Raises:
            Unavailable: a node does not answer; the others have done it.
        """
        nodes = sorted({presence.node for presence in self._mirrors.present(SERVICE)} - {self._node})
        subjects = [command(SERVICE, "local-off-mode", node) for node in nodes]
        found = await asyncio.gather(
            self.local_off_mode(request),
            *(self._parts.context.bus.request(one, request, OffModeReply, _REPLY_SECONDS) for one in subjects),
            return_exceptions=True,
        )
        _raise_first(found)
        signals = tuple(sorted(name for reply in found if isinstance(reply, OffModeReply) for name in reply.signals))
        return OffModeReply(active=request.active, signals=signals)

    async def local_off_mode(self, request: OffMode) -> OffModeReply:
        """The same, of this node. The outputs first: a full disk must not keep them on."""
        off_mode = self._parts.off_mode
        off_mode.active = off_mode.active or request.active  # also for outputs that are set up at this moment
        async with self._changing_mode:
            signals: tuple[str, ...] = ()
            try:
                if self._runners:
                    done = await self._parts.link.ask(
                        lambda number: AllSafe(number=number, active=request.active, by=request.by, why=request.why)
                    )
                    signals = done.signals
            finally:  # of a hand that is being replaced too: the next one is told of it with each output
                await off_mode.set(request.active, request.by, request.why)
                detail = {"active": request.active, "by": request.by, "why": request.why, "signals": signals}
                self._parts.audit.post(self._node, "off-mode", detail)
        return OffModeReply(active=request.active, signals=signals)

    async def _ask(self, signal: str, verb: str, request: Any) -> SignalSet:
        runner = self._runners.get(signal)
        if runner is not None:
            here: SignalSet = await getattr(runner, verb)(request)
            return here
        return await ask_owner(self._parts, signal, verb, request, SignalSet)


async def ask_owner(
    parts: SignalParts,
    signal: str,
    verb: str,
    request: Struct,
    reply: type[ReplyT],
    wait_seconds: float = _REPLY_SECONDS,
) -> ReplyT:
    """What the node of an output answers.

    Raises:
        NotFound: there is no such output.
        Unavailable: it could not be set up, or its node does not answer.
    """
    found = await parts.signals.find(signal)
    if found is None:
        raise NotFound(f"signal {signal!r} does not exist; {SERVICE}.list shows what does")
    if found[0].node == parts.context.node:
        actual = parts.signals.actual(signal)
        why = f": {actual.error.message}" if actual is not None and actual.error is not None else ""
        raise Unavailable(f"signal {signal!r} is not set up{why}")
    return await parts.context.bus.request(command(SERVICE, verb, signal), request, reply, wait_seconds)


def _together(found: "list[SignalSet | BaseException]") -> SignalSet:
    _raise_first(found)
    replies = [one for one in found if isinstance(one, SignalSet)]
    last = max(replies, key=lambda one: one.edge_ns)
    return msgspec.structs.replace(
        last,
        signals=tuple(name for one in replies for name in one.signals),
        until_ns=max(one.until_ns for one in replies),
    )


def _raise_first(found: Any) -> None:
    for one in found:
        if isinstance(one, BaseException):
            raise one

"""Commands of signals, inputs and rules."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, Changed, WaitSeconds
from schemas.errors import ErrorInfo
from schemas.events import Event
from schemas.ids import Id
from schemas.signal_resources import (
    InputActual,
    InputEntry,
    InputSpec,
    Line,
    RuleActual,
    RuleEntry,
    RuleSpec,
    SignalActual,
    SignalEntry,
    SignalSpec,
    SignalType,
)
from schemas.units import DurationText

Who = Annotated[str, Meta(max_length=128)]
Why = Annotated[str, Meta(max_length=512)]
"""Of a rule: `rule reject`, or `rules reject > stop` where one has led to the other; `rule reject: scratch` where it
gives a reason of its own."""


class StartSignal(SignalSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.start: set an output up, or change how it is."""

    revision: int | None = None
    """Expected current revision; a different one is answered with 409."""
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StopSignal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """io-signal.stop: let go of an output; it goes to its safe state."""

    signal: Id
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StartInput(InputSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.start-input: listen to an input, or change how."""

    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StopInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """io-signal.stop-input: listen no more."""

    input: Id
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StartRule(RuleSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.start-rule: act on events from now on, or change how."""

    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StopRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """io-signal.stop-rule"""

    rule: Id
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class SignalChanged(Changed, frozen=True, kw_only=True):
    actual: SignalActual | None = None


class InputChanged(Changed, frozen=True, kw_only=True):
    actual: InputActual | None = None


class RuleChanged(Changed, frozen=True, kw_only=True):
    actual: RuleActual | None = None


class ListSignals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """io-signal.list: outputs, inputs and rules; of one stream those that belong to it."""

    stream: Id | None = None


class SignalList(Struct, frozen=True, kw_only=True):
    signals: tuple[SignalEntry, ...] = ()
    inputs: tuple[InputEntry, ...] = ()
    rules: tuple[RuleEntry, ...] = ()


class SetSignal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.on, io-signal.<signal>.on: set an output; answered when the device has it.

    Of a signal, or of all signals of `stream` that have `type`.
    """

    signal: Id | None = None
    stream: Id | None = None
    type: SignalType | None = None
    keep: DurationText | None = None
    """How long. None: as the output is set up."""
    keep_ms: Annotated[int, Meta(ge=1, le=86_400_000)] | None = None
    """Instead of `keep`, in milliseconds."""
    sequence: int | None = None
    """The picture of `stream` that this is about: the reply tells how long after its capture the output changed."""
    epoch: int | None = None
    """Of the picture. None: the newest."""
    captured_ns: int | None = None
    """Of the picture, where the caller has its reference: `sequence` need not be found then."""
    by: Who = ""
    """Who commands it, and"""
    why: Why = ""
    """why: both are kept with the event."""


class ClearSignal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.off, io-signal.<signal>.off: clear an output."""

    signal: Id
    by: Who = ""
    why: Why = ""


class PulseSignal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.pulse, io-signal.<signal>.pulse: on, and off again after `keep`; answered when it is on."""

    signal: Id
    keep: DurationText | None = None
    """None: as the output is set up, which then must say so."""
    type: SignalType | None = None
    stream: Id | None = None
    sequence: int | None = None
    epoch: int | None = None
    captured_ns: int | None = None
    by: Who = ""
    why: Why = ""


class SignalSet(Struct, frozen=True, kw_only=True):
    """Reply of `on`, `off` and `pulse`."""

    signals: tuple[Id, ...]
    on: bool
    edge_ns: int
    """CLOCK_REALTIME when the device had it (of several the last)."""
    latency_ns: int
    """From the command's arrival at the service to that."""
    since_capture_ns: int | None = None
    """From the picture's capture to that."""
    until_ns: int = 0


class OffMode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """io-signal.off-mode: all outputs go to their safe state, and `on` and `pulse` are refused until it is ended."""

    active: bool = True
    by: Who = ""
    why: Why = ""


class OffModeReply(Struct, frozen=True, kw_only=True):
    active: bool
    signals: tuple[Id, ...] = ()
    """Outputs that it has switched."""


class GetTcpSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """io-signal.tcp-setting: where the signals of a camera go: that of its signal of mode tcp."""

    stream: Id | None = None
    camera: Annotated[int, Meta(ge=0)] | None = None
    """Instead of `stream`: 0 is cam0."""


class TcpSetting(Struct, frozen=True, kw_only=True):
    ip: str
    port: int
    signal: Id


class SendTcp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.tcp-send: a text to where the signals of a camera go, to a signal's device, or to a host."""

    message: Annotated[str, Meta(max_length=65_536)]
    stream: Id | None = None
    camera: Annotated[int, Meta(ge=0)] | None = None
    signal: Id | None = None
    host: str | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    reply: Annotated[str, Meta(max_length=256)] | None = None
    """A regular expression that the answer must match."""
    by: Who = ""
    why: Why = ""


class TcpSent(Struct, frozen=True, kw_only=True):
    sent_ns: int
    reply: str = ""


class SendIo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """io-signal.io-send: a text into a control file, under the folders that are allowed."""

    text: Line
    file: str
    node: Id | None = None
    by: Who = ""
    why: Why = ""


class IoSent(Struct, frozen=True, kw_only=True):
    written_ns: int


class DryRunRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """io-signal.test-rule: what a rule would do with an event, without doing it."""

    rule: Id | None = None
    """One that is there, or"""
    spec: RuleSpec | None = None
    """one that is not."""
    event: Event


class PlannedCommand(Struct, frozen=True, kw_only=True):
    command: str
    given: dict[str, Any] = {}
    error: ErrorInfo | None = None
    """Why it could not be given."""


class RuleTested(Struct, frozen=True, kw_only=True):
    acts: bool
    reason: str = ""
    """Why it would not: `when`, `where`, `cooldown`, `rate`, `loop`, `disabled`."""
    commands: tuple[PlannedCommand, ...] = ()

"""Signals to machines and from them, and rules between events and commands: what is asked for, and what is."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from schemas.errors import ErrorInfo, InvalidValue
from schemas.ids import Id
from schemas.units import DurationText, parse_duration

SignalMode = Literal["io", "gpio", "tcp", "modbus", "uart"]
SignalType = Literal["ng", "alarm", "ok"]
"""What a signal says of a part or a machine."""
SafeState = Literal["off", "on", "hold"]
Polarity = Literal["active-high", "active-low"]
Retrigger = Literal["extend", "ignore", "queue"]
SignalState = Literal["starting", "off", "on", "failed", "away"]
InputMode = Literal["gpio", "modbus", "tcp", "uart"]
InputValue = Literal["level", "number", "text"]
Edge = Literal["rising", "falling", "both"]
InputState = Literal["starting", "active", "failed", "away"]
RuleState = Literal["active", "failed", "away"]
EventDetail = str | int | float | bool | None
Line = Annotated[str, Meta(max_length=1_024)]
"""A text as it is sent; `\\n`, `\\r`, `\\t` and `\\xNN` stand for what they mean in Python."""
MAX_ACTIONS: Final = 16

SIGNAL_STATES: Final = "io-signal"
INPUT_STATES: Final = "io-input"
RULE_STATES: Final = "io-rule"
"""How the keys of the three kinds begin in `mesh_desired` and `mesh_actual`."""


class SignalSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An output of a device: owned by io-signal on `node`."""

    signal: Id
    """By custom `do1`, `do2`, …"""
    mode: SignalMode
    address: str
    """`io`: file:///run/io/do1, a control file under the folders that are allowed · `gpio`: gpio://gpiochip0/17 ·
    `tcp`: tcp://10.0.0.5:9000 · `modbus`: tcp://plc:502/1/coil/3 or rtu:///dev/ttyUSB0/1/register/40?baud=19200 (unit,
    `coil` or `register`, number from 0) · `uart`: uart:///dev/ttyS1?baud=115200&parity=none&stop=1."""
    node: Id | None = None
    type: SignalType | None = None
    """What it tells: a command that names a type and a stream finds it by this."""
    streams: tuple[Id, ...] = ()
    """Cameras whose signals go here."""
    polarity: Polarity = "active-high"
    """Of `io`, `gpio` and coils. active-low: on is 0."""
    on_text: Line | None = None
    """Of `io`, `tcp` and `uart`: what is written for on. None: `1` of `io`, else `ON {signal}` and a line's end.
    `{signal}`, `{type}`, `{stream}` and `{sequence}` are filled in."""
    off_text: Line | None = None
    on_value: Annotated[int, Meta(ge=0, le=65_535)] = 1
    """Of a register."""
    off_value: Annotated[int, Meta(ge=0, le=65_535)] = 0
    reply: Annotated[str, Meta(max_length=256)] | None = None
    """Of `tcp` and `uart`: a regular expression that the device's answer must match within `timeout`."""
    safe: SafeState = "off"
    """Its state at start, at the end, when the service dies and while the bus is away for longer than `bus_lost`."""
    initial: SafeState | None = None
    """Its state once the service has started. None: `safe`."""
    keep: DurationText | None = None
    """How long `on` lasts where the command does not say. None: until `off`."""
    retrigger: Retrigger = "extend"
    """Of `on` with a keep time while it is on already: the time begins again; nothing changes; it is on again after
    this one's end."""
    timeout: DurationText = "500ms"
    """Of one try."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    queue: Annotated[int, Meta(ge=1, le=1_024)] = 64
    """Commands that may wait for the device; one more is refused."""
    bus_lost: DurationText = "5s"
    """How long the bus may be away before the output goes to its safe state."""


class SignalActual(Struct, frozen=True, kw_only=True):
    """What io-signal sees of one output."""

    signal: Id
    node: Id
    revision: int
    state: SignalState
    since_ns: int = 0
    error: ErrorInfo | None = None
    """The last one, until a command has gone well."""
    until_ns: int = 0
    """When its keep time ends; 0 when it has none."""
    type: SignalType | None = None
    """What it was set for."""
    by: str = ""
    why: str = ""
    waiting: int = 0
    """Commands in its queue."""
    changes: int = 0
    """Of the output, since the service started."""
    safe_by: str = ""
    """How it becomes safe when the service is killed: `guard` or `device`."""


class InputSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An input of a device: owned by io-signal on `node`."""

    input: Id
    """By custom `di1`, `di2`, …"""
    mode: InputMode
    address: str
    """As of a signal; `modbus` reads `coil`, `discrete`, `register` or `input-register`; `tcp`: tcp://127.0.0.1:9100,
    where it listens for lines."""
    node: Id | None = None
    value: InputValue = "level"
    """What it delivers: on or off, a number, or a line of text."""
    edge: Edge = "both"
    """Of a level: which of its changes are events."""
    polarity: Polarity = "active-high"
    pull: Literal["none", "up", "down"] = "none"
    """Of `gpio`."""
    debounce: DurationText | None = None
    """Changes that do not last so long are none."""
    poll: DurationText = "20ms"
    """Of `modbus`: how often it is read."""
    pattern: Annotated[str, Meta(max_length=256)] | None = None
    """Of lines: a regular expression; others are counted and left out. Its group `value` is the value, else all."""
    stream: Id | None = None
    """Each event tells which of this stream's pictures was being exposed."""
    attach: Id | None = None
    """Under this name the value goes with each picture of `stream` exposed since, in the reference's `metadata`."""


class InputActual(Struct, frozen=True, kw_only=True):
    """What io-signal sees of one input."""

    input: Id
    node: Id
    revision: int
    state: InputState
    since_ns: int = 0
    error: ErrorInfo | None = None
    value: EventDetail = None
    changed_ns: int = 0
    """CLOCK_REALTIME of the last event."""
    events: int = 0
    dropped: dict[str, int] = {}
    """Left out since it was set up, by reason: `bounce`, `no-match`, `too-fast`; of lines over TCP also `too-long`,
    `unfinished`, and clients that were `refused`."""
    address: str = ""
    """Where it listens, of `tcp`: port 0 is any free one."""


class Action(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that a rule does: exactly one of `signal`, `snapshot`, `clip`, `record` and `command` is given."""

    signal: Id | None = None
    on: bool = True
    """Of `signal`."""
    pulse: DurationText | None = None
    """Of `signal`: on for so long."""
    type: SignalType | None = None
    snapshot: Id | None = None
    """A stream, of which a picture file is written."""
    clip: Id | None = None
    """A stream, of which a clip is cut around the event."""
    before: DurationText = "5s"
    after: DurationText = "2s"
    rendition: Id | None = None
    """Of `clip` and `record`."""
    record: Id | None = None
    """A stream, which is recorded for `after`, beginning `before` the event."""
    command: str | None = None
    """Any command, as `<service>.<verb>` or `<service>.<id>.<verb>`,"""
    given: dict[str, Any] = {}
    """and its fields. In texts `{event.…}` is filled in: `{event.id}`, `{event.at_ns}`, `{event.detail.value}`."""


class RuleSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When this event, then those commands: owned by io-signal on `node`."""

    rule: Id
    when: str
    """`<service>.<id>.<event>`, `*` for any of one: `io-signal.di1.edge`, `app.line1.ng`; or the whole subject."""
    where: dict[str, EventDetail] = {}
    """Of the event's detail: these fields have these values, as in `{level: true}`."""
    do: Annotated[tuple[Action, ...], Meta(min_length=1, max_length=MAX_ACTIONS)]
    """One after the other; one that fails does not keep the next from being done."""
    node: Id | None = None
    cooldown: DurationText | None = None
    """So long after one event others are counted and left out."""
    at_most_per_minute: Annotated[int, Meta(ge=1, le=60_000)] = 600
    enabled: bool = True


class RuleActual(Struct, frozen=True, kw_only=True):
    """What io-signal sees of one rule."""

    rule: Id
    node: Id
    revision: int
    state: RuleState
    since_ns: int = 0
    error: ErrorInfo | None = None
    """Of the last action that failed, until all have gone well."""
    fired: int = 0
    fired_ns: int = 0
    """CLOCK_REALTIME of the last event that it acted on."""
    left_out: dict[str, int] = {}
    """Events that it did not act on, by reason: `where`, `cooldown`, `rate`, `loop`, `queue` (too many wait),
    `unreadable`."""


class SignalEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: SignalSpec
    actual: SignalActual | None = None


class InputEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: InputSpec
    actual: InputActual | None = None


class RuleEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: RuleSpec
    actual: RuleActual | None = None


class FrameAt(Struct, frozen=True, kw_only=True):
    """A picture beside an instant."""

    sequence: int
    captured_ns: int
    dt_ns: int
    """From its capture to the instant; negative of one captured later."""


class JoinedFrame(Struct, frozen=True, kw_only=True):
    """The picture that was being exposed at an instant, with its neighbours."""

    stream: Id
    epoch: int
    frame: FrameAt
    before: FrameAt | None = None
    after: FrameAt | None = None
    clock: str = ""
    """That of the pictures, see `FrameRef.clock`."""


def check_rule_actions(spec: RuleSpec, path: str = "") -> None:
    """Refuse what can never work, without any I/O.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    for number, action in enumerate(spec.do):
        where = f"{path}do.{number}"
        kinds = ("signal", "snapshot", "clip", "record", "command")
        given = [kind for kind in kinds if getattr(action, kind) is not None]
        if len(given) != 1:
            raise InvalidValue(where, given, f"give one of {', '.join(kinds)}")
        for name in ("pulse", "before", "after"):
            if (text := getattr(action, name)) is not None:
                parse_duration(text, f"{where}.{name}")
    if spec.cooldown is not None:
        parse_duration(spec.cooldown, f"{path}cooldown")

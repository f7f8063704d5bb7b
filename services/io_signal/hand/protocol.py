"""What the service and the hand say to each other: one JSON object a line, over the hand's standard input and output.

First `Setup`, answered by `Ready`. Every request has a number and is answered by one `Done` with that number; `Output`
comes with each change of an output, whoever asked for it, `Taken` with each value of an input. `Ping` comes again
and again and is answered by `Pong`: a hand that does not answer is replaced, and a hand that hears nothing, or that
the bus is away, brings its outputs to their safe states. So does the end of its input.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.errors import ErrorInfo
from schemas.ids import Id
from schemas.signal_resources import EventDetail, InputSpec, InputState, SignalSpec
from services.io_signal.hand.drivers.base import InstantClock, Limits

MODULE: Final = "services.io_signal.hand"
MAX_LINE_BYTES: Final = 1 << 20
"""Of both directions: a text of 65,536 characters, each of which JSON may write in six."""
EXIT_CANNOT_START: Final = 2
PING_SECONDS: Final = 0.4
SILENCE_SECONDS: Final = 1.2
"""Without a `Pong` for so long the hand stands still: it is killed, and replaced within 2 s."""

Cause = Literal["command", "keep", "failed", "start", "off-mode", "bus-lost", "end", "stop"]
"""Of a change: a command, the end of its keep time, a command that failed and may have been done nevertheless, the
hand's start, off-mode, the bus that is away, the hand's end, or a signal that is taken away."""


class Setup(Struct, frozen=True, kw_only=True, tag="setup"):
    """The first line."""

    node: Id
    lock: str
    """A file in shared memory that this hand holds for as long as it lives, with its process id in it: an earlier one,
    whose service has died, must have let go of the devices first."""
    last_words: str = ""
    """Where it leaves what it did after its service had died."""
    log: str = "info"
    limits: Limits = Limits()


class SetUp(Struct, frozen=True, kw_only=True, tag="set-up"):
    """Have an output, in its safe state first and then in its initial one; or have it otherwise."""

    number: int
    spec: SignalSpec
    safe: bool = False
    """It stays in its safe state: off-mode is active."""


class LetGo(Struct, frozen=True, kw_only=True, tag="let-go"):
    """Bring an output to its safe state, and have it no more."""

    number: int
    signal: Id


class Switch(Struct, frozen=True, kw_only=True, tag="switch"):
    """Set or clear an output; answered when the device has it."""

    number: int
    signal: Id
    on: bool
    keep_ms: int | None = None
    """None: as the output is set up. 0: until it is cleared."""
    kind: str = ""
    """`SignalType`, as it was told."""
    stream: str = ""
    sequence: int | None = None
    by: str = ""
    why: str = ""
    trace_id: str = ""
    """The story that the command belongs to; so it is told of what the output does."""
    asked_ns: int = 0
    """CLOCK_REALTIME when the service had the command."""


class AllSafe(Struct, frozen=True, kw_only=True, tag="all-safe"):
    """Every output to its safe state now; `on` is refused until it is ended."""

    number: int
    active: bool
    by: str = ""
    why: str = ""


class Send(Struct, frozen=True, kw_only=True, tag="send"):
    """A text to the device of a signal, or to a host."""

    number: int
    text: str
    signal: Id | None = None
    host: str = ""
    port: int = 0
    reply: str | None = None
    timeout_ms: int = 2_000
    """Of a host; a signal has its own."""


class WriteFile(Struct, frozen=True, kw_only=True, tag="write-file"):
    """A text into a control file."""

    number: int
    file: str
    text: str


class Listen(Struct, frozen=True, kw_only=True, tag="listen"):
    """Have an input, or have it otherwise."""

    number: int
    spec: InputSpec


class LeaveInput(Struct, frozen=True, kw_only=True, tag="leave-input"):
    number: int
    input: Id


class Ping(Struct, frozen=True, kw_only=True, tag="ping"):
    number: int
    bus: bool
    """Whether the service has the bus."""


ToHand = Setup | SetUp | LetGo | Switch | AllSafe | Send | WriteFile | Listen | LeaveInput | Ping


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """It has the lock."""


class Pong(Struct, frozen=True, kw_only=True, tag="pong"):
    number: int


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """Of the request with this number."""

    number: int
    error: ErrorInfo | None = None
    edge_ns: int = 0
    """CLOCK_REALTIME when the device had it."""
    until_ns: int = 0
    reply: str = ""
    signals: tuple[Id, ...] = ()
    """Of `AllSafe`: those that it has switched."""


class Output(Struct, frozen=True, kw_only=True, tag="output"):
    """An output as it is now."""

    signal: Id
    on: bool
    known: bool = True
    """False: the device has not had anything yet."""
    cause: Cause = "command"
    changed: bool = False
    """The device has had something just now."""
    edge_ns: int = 0
    asked_ns: int = 0
    """Of the command that changed it; 0 of other causes."""
    until_ns: int = 0
    keep_ms: int = 0
    kind: str = ""
    """`SignalType`, as it was told."""
    by: str = ""
    why: str = ""
    trace_id: str = ""
    waiting: int = 0
    changes: int = 0
    retries: int = 0
    """Tries since it was set up that were not the first of their command."""
    error: ErrorInfo | None = None


class Taken(Struct, frozen=True, kw_only=True, tag="taken"):
    """An input delivered something."""

    input: Id
    value: EventDetail
    at_ns: int
    """CLOCK_REALTIME."""
    clock: InstantClock
    edge: bool = True
    """It is an event; False: it is only known now, as what the first look finds is."""


class InputIs(Struct, frozen=True, kw_only=True, tag="input-is"):
    """The state of an input has changed, or, five times a second at most, what was left out of it."""

    input: Id
    state: InputState
    error: ErrorInfo | None = None
    dropped: dict[str, int] = {}
    """Since it was listened to first, by reason."""
    address: str = ""
    """Where it listens, of `tcp`: its port may have been any free one."""


FromHand = Ready | Pong | Done | Output | Taken | InputIs

_encoder: Final = msgspec.json.Encoder(enc_hook=str)  # paths
_to_hand: Final[msgspec.json.Decoder[ToHand]] = msgspec.json.Decoder(ToHand, dec_hook=lambda kind, text: kind(text))
_from_hand: Final[msgspec.json.Decoder[FromHand]] = msgspec.json.Decoder(FromHand)


def line(message: ToHand | FromHand) -> bytes:
    return _encoder.encode(message) + b"\n"


def read_by_hand(text: bytes) -> ToHand:
    """Raises:
    msgspec.DecodeError: it is none of them.
    """
    return _to_hand.decode(text)


def read_by_service(text: bytes) -> FromHand:
    """Raises:
    msgspec.DecodeError: it is none of them.
    """
    return _from_hand.decode(text)

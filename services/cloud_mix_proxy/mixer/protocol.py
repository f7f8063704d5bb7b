"""What the service and a mixer's process say to each other: one JSON object a line, over its standard input and output.

First `Setup`. Then any number of `Still`, each before the first `Layout` that names it, and `Layout`: each is answered
by `Applied` or `Refused`. `Started` comes once, `Report` every second. The end of its input, or SIGTERM, ends the
process; a line that cannot be read does too. Nothing of it is in arguments or the environment: addresses and pictures
may be secret.
"""

from typing import Final

import msgspec
from msgspec import Struct

from schemas.errors import ErrorInfo
from schemas.ids import Id
from schemas.mix_resources import Box, MixInputActual, MixSpec
from shared.bus_access import BusAccess

MODULE: Final = "services.cloud_mix_proxy.mixer"
MAX_LINE_BYTES: Final = 32 << 20
"""Of both directions: a still picture of 20 MB in base64, and a spec."""

# Exit codes of the process; any other is a failure of its own, and it may be started again.
EXIT_ENDED: Final = 0
EXIT_CANNOT_START: Final = 2
"""Its last line on stderr says why: the bus refuses, or the first line is none that it understands."""
EXIT_SUPERSEDED: Final = 3
"""Another writer has taken the stream over: it is not to be started again."""


class Setup(Struct, frozen=True, kw_only=True, tag="setup"):
    """The first line: where it works, until it ends."""

    mix: Id
    node: Id
    nats_url: str
    nats_access: BusAccess = BusAccess()
    shm_dir: str
    log: str = "info"
    delay_ms: int = 80
    """How far behind now its pictures and sound are: what all inputs must have arrived in."""
    lost_after_ms: int = 2_000
    """An input without a picture for so long is lost; a slow one after three of its pictures' time."""
    ring_slots: int = 8
    threads: int = 0
    """That scale pictures at the same time; 0: as many as the machine has cores."""


class Still(Struct, frozen=True, kw_only=True, tag="still"):
    """A still picture as its file is; kept while the layout that is seen names it, or until the next is answered."""

    digest: str
    """A name for these bytes: of other bytes it is another."""
    data: bytes


class Layout(Struct, frozen=True, kw_only=True, tag="layout"):
    """What is to be seen and heard from the next picture on."""

    revision: int
    spec: MixSpec
    streams: dict[Id, Id]
    """By input: the stream of this node whose pictures it is. Inputs that are still pictures are not in it."""
    stills: dict[str, str] = {}
    """By the source of a still input or a logo, as the spec has it: its digest."""


ToMixer = Setup | Still | Layout


class Started(Struct, frozen=True, kw_only=True, tag="started"):
    """It is on the bus; the layout may be sent before that."""

    epoch: int
    """Of the stream that it writes."""


class Applied(Struct, frozen=True, kw_only=True, tag="applied"):
    """Pictures have this layout now, or begin to."""

    revision: int
    boxes: dict[Id, Box]
    """By input."""


class Refused(Struct, frozen=True, kw_only=True, tag="refused"):
    """The layout before it stays. The text names the field, and has no password in it: others read it."""

    revision: int
    error: ErrorInfo


class Report(Struct, frozen=True, kw_only=True, tag="report"):
    """How it goes. Counters are since the process started."""

    inputs: tuple[MixInputActual, ...] = ()
    """Of the layout that is seen: state `waiting`, `live` or `lost`, since when, and where."""
    fps: float = 0.0
    """Of pictures made, since the last report."""
    pictures: int = 0
    late: int = 0
    """Pictures that were due and left out, as their time had passed."""
    ring_full: int = 0
    """Pictures left out because readers held every slot."""
    overwritten: int = 0
    """Pictures of inputs that were gone when their moment came; a newer one was taken."""
    slow_tiles: int = 0
    """Pictures of inputs that were not scaled in time; the former one was shown once more."""
    overflown: int = 0
    """Pictures of inputs that gave way while they waited, as too many did."""
    unmade_sound: int = 0
    """Blocks of sound whose time had passed before they were made."""
    late_sound: int = 0
    """Blocks of inputs that came after their moment, or a part of them."""
    unusable_sound: int = 0
    """Blocks of inputs that are not 48 kHz, 16 bits."""
    lateness_p99_ms: float = 0.0
    """Of the last report's pictures: how long after their moment they were handed over."""


FromMixer = Started | Applied | Refused | Report

_encoder: Final = msgspec.json.Encoder()
_to_mixer: Final[msgspec.json.Decoder[ToMixer]] = msgspec.json.Decoder(ToMixer)
_from_mixer: Final[msgspec.json.Decoder[FromMixer]] = msgspec.json.Decoder(FromMixer)


def line(message: ToMixer | FromMixer) -> bytes:
    return _encoder.encode(message) + b"\n"


def read_by_mixer(text: bytes) -> ToMixer:
    """Raises:
    msgspec.DecodeError: it is none of them.
    """
    return _to_mixer.decode(text)


def read_by_service(text: bytes) -> FromMixer:
    """Raises:
    msgspec.DecodeError: it is none of them.
    """
    return _from_mixer.decode(text)

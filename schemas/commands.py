"""Requests and replies of the commands. A `start` command's request is the spec itself plus how to wait."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.errors import ErrorInfo
from schemas.ids import Id
from schemas.mix_resources import MixEntry
from schemas.resources import (
    OutputActual,
    OutputSpec,
    Presence,
    RenditionActual,
    RenditionSpec,
    StreamActual,
    StreamSpec,
)

WaitSeconds = Annotated[float, Meta(ge=0, le=60, description="how long to wait for the actual state")]
DEFAULT_WAIT_SECONDS = 5.0


class StartStream(StreamSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """capture.start: make or change a stream."""

    revision: int | None = None
    """Expected current revision; a different one is answered with 409."""
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StartRendition(RenditionSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """hw-encode.start: make or change a rendition."""

    parameters: str = ""
    """Instead of the typed fields, as some encoders take them: `width=1920:height=1080:gop=32:gop_preset=3:
    framerate=25:bitrate=2000` (kbit/s)."""
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StartOutput(OutputSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """publisher.start: make or change an output."""

    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StopStream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.stop: remove a stream."""

    stream: Id
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StopRendition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """hw-encode.stop: remove a rendition."""

    stream: Id
    rendition: Id = "main"
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class StopOutput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """publisher.stop: end an output; files are closed properly."""

    stream: Id
    output: Id
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class Changed(Struct, frozen=True, kw_only=True):
    """Reply to a command that changes something.

    `code` 200: `actual` is the state at or after `revision`. 202: accepted, the owner has not acted within
    `wait_s`; follow the events or ask again. An error of the owner is in `actual.error` and in the reply's
    error headers.
    """

    code: Literal[200, 202]
    service: Id
    id: str
    revision: int


class StreamChanged(Changed, frozen=True, kw_only=True):
    actual: StreamActual | None = None


class RenditionChanged(Changed, frozen=True, kw_only=True):
    actual: RenditionActual | None = None


class OutputChanged(Changed, frozen=True, kw_only=True):
    actual: OutputActual | None = None


class ListResources(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """<service>.list: everything this kind of service has been asked for; optionally of one stream."""

    stream: Id | None = None


class StreamEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: StreamSpec
    actual: StreamActual | None = None


class RenditionEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: RenditionSpec
    actual: RenditionActual | None = None


class OutputEntry(Struct, frozen=True, kw_only=True):
    revision: int
    spec: OutputSpec
    actual: OutputActual | None = None


class StreamList(Struct, frozen=True, kw_only=True):
    streams: tuple[StreamEntry, ...]


class RenditionList(Struct, frozen=True, kw_only=True):
    renditions: tuple[RenditionEntry, ...]


class OutputList(Struct, frozen=True, kw_only=True):
    outputs: tuple[OutputEntry, ...]


class KeyFrameRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """hw-encode.<id>.keyframe, capture.<id>.keyframe: make the next picture a key picture."""

    reason: str = ""
    rendition: Id | None = None
    """Of capture: which layer of a publisher that sends several; None: the one that `source` follows."""


class KeyFrameReply(Struct, frozen=True, kw_only=True):
    forced: bool
    """False when one was made so recently that this request is served by it."""


class RenditionStatsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """hw-encode.<id>.stats"""


class RenditionStats(Struct, frozen=True, kw_only=True):
    """Counted since the rendition's run began; the difference of two replies is what happened between them."""

    stream: Id
    rendition: Id
    at_ns: int
    """CLOCK_REALTIME."""
    running: bool
    run: int = 0
    pictures: int = 0
    key_pictures: int = 0
    bytes: int = 0
    """Of packets, sound included."""
    dropped: dict[str, int] = {}
    """Pictures that were not encoded, by reason: `fps-limit`, `queue`, `missed`, `lost`."""


class MeshStatus(Struct, frozen=True, kw_only=True):
    """The whole mesh as `framemesh status --json` and the console's event socket show it."""

    services: tuple[Presence, ...] = ()
    streams: tuple[StreamEntry, ...] = ()
    renditions: tuple[RenditionEntry, ...] = ()
    outputs: tuple[OutputEntry, ...] = ()
    mixes: tuple[MixEntry, ...] = ()
    error: ErrorInfo | None = None

"""Commands to one running stream, and to one node's cameras: only their capture answers."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, WaitSeconds
from schemas.devices import Device
from schemas.errors import ErrorInfo
from schemas.frames import PixelFormat
from schemas.ids import Id
from schemas.pictures import PictureSettings
from schemas.resources import StreamState
from schemas.stills import StillFormat
from schemas.units import DurationText


class SnapshotRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.<stream>.snapshot: the newest picture; decoding is begun for it when nobody looks."""

    format: StillFormat = "jpg"
    quality: Annotated[int, Meta(ge=1, le=100)] = 90
    """Of jpg and webp."""
    max_width: Annotated[int, Meta(ge=2, le=16_384)] | None = None
    """Wider pictures are scaled down, their aspect kept. A picture must fit the bus: 8 MiB with base64."""
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class Snapshot(Struct, frozen=True, kw_only=True):
    """One picture, and which one it is."""

    stream: Id
    epoch: int
    sequence: int
    captured_ns: int
    pts_ns: int
    width: int
    height: int
    format: StillFormat
    data: bytes
    """The file; base64 in JSON."""


class StatsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.<stream>.stats"""


class StreamStats(Struct, frozen=True, kw_only=True):
    """Measured, at this moment."""

    stream: Id
    node: Id
    instance: int = 1
    """Of those that share the node's streams, the one that has it."""
    state: StreamState
    status: Literal[0, 2, 4]
    """2 delivers pictures, 4 does not though it should, 0 is off."""
    error: ErrorInfo | None = None
    since_ns: int = 0
    epoch: int = 0
    fps: float = 0.0
    """Pictures that the source has sent per second, over the last 2 s."""
    decoded_fps: float = 0.0
    """Pictures written to the ring per second."""
    bitrate: int = 0
    """Of the source's own packets, bit/s."""
    history_s: float = 0.0
    """How far back the source's own packets in memory reach."""
    width: int = 0
    height: int = 0
    """Of the pictures in the ring; before the first of what the source sends."""
    pixel_format: PixelFormat | None = None
    source_width: int = 0
    source_height: int = 0
    frames: int = 0
    """Pictures written to the ring."""
    dropped: dict[str, int] = {}
    """Pictures left out, by reason: `ring-full`, `fps-limit`, `damaged`, `too-large`, …"""
    last_frame_ns: int = 0
    """When the source's newest picture came, CLOCK_REALTIME."""
    restarts: int = 0
    stalls: int = 0
    freezes: int = 0
    sequence: int = 0
    """Of the newest picture in the ring."""
    level_dbfs: float | None = None
    """Of the last 0.4 s of sound, RMS; a sine of full scale is 0, silence -100. None: `voice` is off, or no sound."""
    voice_probability: float | None = None
    """That somebody speaks at this moment, 0 to 1."""
    speaking: bool = False
    """Between `voice-started` and `voice-ended`."""


class ConfigureStream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.<stream>.configure: hold a profile against what the camera can do, and take it on.

    A profile stands for all picture settings: what it does not name gets its default. An error names the key, and the
    camera is as it was.
    """

    profile: PictureSettings
    apply: bool = True
    """False: only judge."""
    validate: bool = True
    """False: leave the judgement to the camera."""
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class TriggerRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.<stream>.trigger: take one picture now, of a camera with `trigger: software`."""


class TriggerReply(Struct, frozen=True, kw_only=True):
    triggered_ns: int
    """CLOCK_REALTIME when the camera had taken the command."""


class RestartRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.<stream>.restart: let the source go and open it anew, with the same settings and password."""


class RestartReply(Struct, frozen=True, kw_only=True):
    restarted: bool
    """False when that is under way already."""


Speed = Annotated[float, Meta(ge=-1, le=1)]


class PtzRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.<stream>.ptz: move a camera that can. Axes are those of ONVIF's generic spaces."""

    action: Literal["move", "stop", "go-to", "preset", "home", "status"]
    """`move`: with these speeds, for `duration`; `go-to`: to this position; `preset`: to one by name."""
    pan: Speed = 0.0
    tilt: Speed = 0.0
    zoom: Speed = 0.0
    """Of `go-to` 0 (wide) to 1 (tele)."""
    duration: DurationText = "500ms"
    """After that a `move` ends by itself; 30 s at most."""
    preset: str = ""


class PtzStatus(Struct, frozen=True, kw_only=True):
    """Where the camera looks; None where it does not tell."""

    pan: float | None = None
    tilt: float | None = None
    zoom: float | None = None
    moving: bool | None = None
    presets: tuple[str, ...] = ()


class ListDevices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """capture.<node>.devices: the cameras of one node. Kept until asked to look again."""

    refresh: bool = False
    """Look again now."""
    network: bool = False
    """When looking: also ask the network for ONVIF and GigE cameras, which takes about 2 s."""


class DeviceList(Struct, frozen=True, kw_only=True):
    node: Id
    devices: tuple[Device, ...] = ()
    at_ns: int = 0
    """When they were looked for."""

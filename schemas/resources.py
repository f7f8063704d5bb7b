"""What was asked for (specs, in `mesh_desired`) and what is (actuals, in `mesh_actual`).

A spec is what a `start` command carries: one vocabulary for NATS commands, mesh.yaml and the KV.
Specs refuse unknown fields; actuals are read leniently, so an older console can watch a newer mesh.
"""

from typing import Literal

from msgspec import Struct

from schemas.encoding import Preset, Quality, RateControl
from schemas.errors import ErrorInfo
from schemas.frames import Delivery, PixelFormat
from schemas.ids import Id
from schemas.packets import VideoCodec
from schemas.pictures import Fps, PictureSettings
from schemas.units import BitrateText, DurationText

OnLoss = Literal["hold", "slate", "none"]
EncoderPolicy = Literal["require-hw", "prefer-hw", "software"]
OutputFormat = Literal["mp4", "flv", "rtsp"]


class StreamSpec(PictureSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A live source: owned by capture on `node`."""

    stream: Id
    source: str
    """rtsp:// rtmp:// srt:// udp:// http(s):// onvif:// v4l2:// genicam:// screen:// file:// images:// test:// or app://
    (an application writes the frames)."""
    source_secret: str = ""
    """`secret://name@revision` of the full URL when `source` had credentials in it; set by the service."""
    node: Id | None = None
    transport: Literal["auto", "tcp", "udp"] = "auto"
    """Of rtsp:// and onvif://. `auto`: tcp first, udp when the camera has no tcp."""
    loop: bool = True
    """Files start again at their end."""
    audio: bool = True
    timecode: bool = False
    """Burn the machine-readable time code into the picture."""
    delivery: Delivery = "live"
    stall_after: DurationText | None = None
    """No picture for so long is a stall. None: 8 times the usual distance of two pictures, 1 s at least."""
    frozen_after: DurationText | None = None
    """Identical pictures for so long are a frozen source. None: not watched for. Watching decodes the key pictures
    even while nobody looks."""
    on_loss: OnLoss = "hold"
    """What those who look at pictures get while the source is lost: the last picture again, a slate, or nothing."""


class RenditionSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An encoding of a stream: owned by hw-encode on the stream's node."""

    stream: Id
    rendition: Id = "main"
    node: Id | None = None
    codec: VideoCodec = "h264"
    """WebRTC viewers and pushes take h264 only; an MP4 file h264, hevc, av1, vp9 and mjpeg."""
    bitrate: BitrateText = "4M"
    """Of cbr and vbr."""
    rate_control: RateControl = "cbr"
    """cbr and vbr keep to `bitrate`; crf to an even look, qp to one quantizer, both by `quality`."""
    quality: Quality | None = None
    """Of crf and qp; lower is better: 0-51 for h264 and hevc, 1-63 for av1, 0-63 for vp9, 2-31 for mjpeg."""
    max_bitrate: BitrateText | None = None
    """Bound of vbr (1.5 times `bitrate` when not given) and of crf of h264 and hevc (none when not given)."""
    key_interval: DurationText = "2s"
    fps: Fps | None = None
    """At most so many pictures a second; those between are left out evenly. None: all there are."""
    encoder: EncoderPolicy = "prefer-hw"
    preset: Preset = "ultrafast"
    """From the least work per picture to the best picture per bit, for every encoder but mjpeg's."""
    audio_bitrate: BitrateText = "128k"
    always: bool = False
    """Encode even while nobody shows demand."""


class OutputSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a rendition goes: owned by publisher on `node`."""

    stream: Id
    output: Id
    to: str
    """file://….mp4, rtmp(s)://… or rtsp://…

    In file names `{stream}`, `{output}` and `{start:%Y%m%d-%H%M%S}` are filled in.
    """
    to_secret: str = ""
    """`secret://name@revision` of the full URL when `to` had credentials or a stream key; set by the service."""
    rendition: Id = "main"
    node: Id | None = None
    format: OutputFormat | None = None
    """Taken from the URL when not given."""
    finish: bool = False
    """Of a file: close it properly, and keep what is known of it; state `finished`."""


Spec = StreamSpec | RenditionSpec | OutputSpec


class VideoInfo(Struct, frozen=True, kw_only=True):
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    pixel_format: PixelFormat | None = None


class AudioInfo(Struct, frozen=True, kw_only=True):
    codec: str = ""
    sample_rate: int = 0
    channels: int = 0


StreamState = Literal["connecting", "live", "stalled", "frozen", "reconnecting", "failed", "off"]
RenditionState = Literal["idle", "starting", "running", "failed"]
OutputState = Literal["waiting", "connecting", "running", "retrying", "failed", "finished"]


class StreamActual(Struct, frozen=True, kw_only=True):
    """What capture sees of one stream."""

    stream: Id
    node: Id
    revision: int
    """Revision in `mesh_desired` that this state is the answer to."""
    state: StreamState
    source: str = ""
    """The source as it may be shown: without credentials."""
    since_ns: int = 0
    error: ErrorInfo | None = None
    epoch: int = 0
    video: VideoInfo | None = None
    audio: AudioInfo | None = None
    waiting_for: str = ""
    """What must happen before a picture can come, where that is known: `the application`, `a trigger`."""
    source_tracks: tuple[str, ...] = ()
    """Tracks of the rendition `source`; empty when the source's own packets cannot be carried."""
    decoding: bool = False
    """Frames are being written to the ring because somebody needs them."""
    restarts: int = 0


class RenditionActual(Struct, frozen=True, kw_only=True):
    """What hw-encode sees of one rendition."""

    stream: Id
    rendition: Id
    node: Id
    revision: int
    state: RenditionState
    since_ns: int = 0
    error: ErrorInfo | None = None
    encoder: str = ""
    encoder_reason: str = ""
    """Why this encoder: which were tried, and what they said."""
    hardware: bool = False
    video: VideoInfo | None = None
    tracks: tuple[str, ...] = ()
    bitrate: int = 0
    run: int = 0


class OutputActual(Struct, frozen=True, kw_only=True):
    """What publisher sees of one output."""

    stream: Id
    output: Id
    rendition: Id
    node: Id
    revision: int
    state: OutputState
    to: str = ""
    """The destination as it may be shown: without credentials or keys."""
    since_ns: int = 0
    error: ErrorInfo | None = None
    file: str = ""
    """The file being written, for file outputs."""
    bytes_written: int = 0
    retries: int = 0
    started_ns: int = 0
    """When the file's first picture was captured, CLOCK_REALTIME."""
    duration_ns: int = 0
    """Of what the file holds; of several files the sum."""
    video: VideoInfo | None = None
    """Of what the file holds; set when it is finished."""
    files: tuple[str, ...] = ()
    """When it is finished: every file, the newest last; a crash, or pictures of another size, begin another one."""


Actual = StreamActual | RenditionActual | OutputActual


class Presence(Struct, frozen=True, kw_only=True):
    """One running service on one node, refreshed while it lives."""

    service: Id
    node: Id
    instance: str
    version: str
    pid: int
    started_ns: int
    metrics_url: str = ""
    http_url: str = ""
    shm_domain: str = ""
    """Equal for processes that see the same rings."""

"""What was asked for (specs, in `mesh_desired`) and what is (actuals, in `mesh_actual`).

A spec is what a `start` command carries: one vocabulary for NATS commands, mesh.yaml and the KV.
Specs refuse unknown fields; actuals are read leniently, so an older console can watch a newer mesh.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.encoding import AudioSampleRate, Preset, Quality, RateControl
from schemas.errors import ErrorInfo
from schemas.frames import Delivery, PixelFormat
from schemas.ids import Id
from schemas.mix_resources import MixActual, MixSpec
from schemas.packets import VideoCodec
from schemas.pictures import Fps, PictureSettings
from schemas.sample_resources import SampleActual, SampleSpec
from schemas.signal_resources import InputActual, InputSpec, RuleActual, RuleSpec, SignalActual, SignalSpec
from schemas.units import BitrateText, BytesText, DurationText, SizeText

OnLoss = Literal["hold", "slate", "none"]
EncoderPolicy = Literal["require-hw", "prefer-hw", "software"]
OutputFormat = Literal["mp4", "ts", "mkv", "hls", "flv", "rtsp", "srt", "udp", "whip"]
Fit = Literal["contain", "cover", "fill"]
WhenFull = Literal["drop-oldest", "refuse", "clear", "block"]


class StreamSpec(PictureSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A live source: owned by capture on `node`."""

    stream: Id
    source: str
    """rtsp:// rtmp:// srt:// udp:// http(s):// onvif:// v4l2:// genicam:// screen:// file:// images:// test://, whip://
    (a browser publishes it to a gateway), app:// (an application writes the frames) or mix:// (a mix does)."""
    source_secret: str = ""
    """`secret://name@revision` of the full URL when `source` had credentials in it; set by the service."""
    node: Id | None = None
    transport: Literal["auto", "tcp", "udp"] = "auto"
    """Of rtsp:// and onvif://. `auto`: tcp first, udp when the camera has no tcp."""
    loop: bool = True
    """Files start again at their end; those behind http:// too."""
    audio: bool = True
    voice: bool = False
    """Listen for voices: events `voice-started` and `voice-ended`, level and probability in the stats. The sound is
    decoded for it even while nobody looks."""
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
    history: DurationText | None = None
    """Keep so much of the source's own packets in memory even while nobody takes them: for pre-roll and clips."""
    public_only: bool = False
    """Of addresses: those within private networks are refused, and so is what lies on this machine."""
    made_for: Id | None = None
    """The mix that has it made as one of its inputs, and takes it away with itself; set by cloud-mix-proxy."""


class RenditionSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An encoding of a stream: owned by hw-encode on the stream's node."""

    stream: Id
    rendition: Id = "main"
    node: Id | None = None
    codec: VideoCodec = "h264"
    """WebRTC viewers take all but mjpeg, as far as their browsers do; what each output takes, its error tells."""
    size: SizeText | None = None
    """None: that of the stream's pictures."""
    fit: Fit = "contain"
    """Of pictures of another shape than `size`: all of it with black bars, cut at the edges, or stretched."""
    bitrate: BitrateText = "4M"
    """Of cbr and vbr."""
    rate_control: RateControl = "cbr"
    """cbr and vbr keep to `bitrate`; crf to an even look, qp to one quantizer, both by `quality`."""
    quality: Quality | None = None
    """Of crf and qp; lower is better: 0-51 for h264 and hevc, 1-63 for av1, 0-63 for vp9, 2-31 for mjpeg."""
    max_bitrate: BitrateText | None = None
    """Bound of vbr (1.5 times `bitrate` when not given) and of crf of h264 and hevc (none when not given)."""
    key_interval: DurationText = "2s"
    b_frames: Annotated[int, Meta(ge=0, le=7)] = 0
    """Pictures made from a later one, in a row, of h264 and hevc: better per bit, and that much later. Files, RTMP and
    MPEG-TS take them, WebRTC viewers do not."""
    fps: Fps | None = None
    """At most so many pictures a second; those between are left out evenly. None: all there are."""
    encoder: EncoderPolicy = "prefer-hw"
    preset: Preset = "ultrafast"
    """From the least work per picture to the best picture per bit, for every encoder but mjpeg's."""
    audio_bitrate: BitrateText = "128k"
    audio_sample_rate: AudioSampleRate = 0
    """Hz, of the track `aac`; Opus has its own. 0: that of the sound."""
    always: bool = False
    """Encode even while nobody shows demand."""
    history: DurationText | None = None
    """Keep so much in memory, encoding even while nobody shows demand: for pre-roll and clips."""
    queue: Annotated[int, Meta(ge=1, le=16)] = 1
    """Pictures that may wait for the encoder. 1: of a live stream the newest."""
    made_from: Id | None = None
    """An application makes it out of this rendition's packets (`mesh.transform`): nothing is encoded, requests for key
    pictures are passed on, and it is removed when the application is gone."""
    when_full: WhenFull = "drop-oldest"
    """What becomes of a picture that finds the queue full: it takes the oldest one's place, is refused, or the whole
    queue's; `block` needs a lossless stream, whose writer then waits."""


class OutputSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a rendition goes: owned by publisher on `node`."""

    stream: Id
    output: Id
    to: str
    """file://….mp4, .ts, .mkv or .m3u8, rtmp(s)://…, rtsp://…, srt://…, udp://… (MPEG-TS), http(s)://… (WHIP)

    In file names `{stream}`, `{output}` and `{start:%Y%m%d-%H%M%S}` are filled in.
    """
    to_secret: str = ""
    """`secret://name@revision` of the full URL when `to` had credentials or a stream key; set by the service."""
    rendition: Id = "main"
    node: Id | None = None
    format: OutputFormat | None = None
    """Taken from the URL when not given."""
    public_only: bool = False
    """Of what is pushed over RTMP, RTSP and SRT: addresses within private networks are refused, at every attempt; other
    outputs cannot have it."""
    finish: bool = False
    """Of a file: close it properly, and keep what is known of it; state `finished`."""
    segment: DurationText | None = None
    """Of files: begin another one at the first key picture after so long. Of HLS: how long its pieces are (2s)."""
    segment_bytes: BytesText | None = None
    """Of files: begin another one at the first key picture after so much."""
    preroll: DurationText | None = None
    """Of files: begin so long ago, as far as the packets in memory reach; see `history`."""
    keep_for: DurationText | None = None
    """Of files: take those away that ended so long ago. Of HLS: how far back the playlist reaches."""
    keep_bytes: BytesText | None = None
    """Of files: take the oldest away while all of this output's are more than this."""
    keep_free: BytesText | None = None
    """Of files: take the oldest of this output's away while less than this is free on their disk."""


Spec = StreamSpec | RenditionSpec | OutputSpec | SampleSpec | MixSpec | SignalSpec | InputSpec | RuleSpec


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


class LayerInfo(Struct, frozen=True, kw_only=True):
    """One of the sizes that a publisher sends its pictures in (simulcast): a rendition of the stream by itself."""

    rendition: Id
    active: bool = False
    """Packets come; a publisher ends and begins layers as its line and its machine can."""
    followed: bool = False
    """Rendition `source` has the packets of this one."""
    width: int = 0
    height: int = 0
    bitrate: int = 0
    """Received during the last seconds, bit/s."""


StreamState = Literal["connecting", "live", "stalled", "frozen", "reconnecting", "failed", "off", "away"]
RenditionState = Literal["idle", "starting", "running", "failed", "away"]
OutputState = Literal["waiting", "connecting", "running", "retrying", "failed", "finished", "away"]
"""`away`, of each: whoever reports it has not been heard of; said by who looks, never by who reports."""


class StreamActual(Struct, frozen=True, kw_only=True):
    """What capture sees of one stream."""

    stream: Id
    node: Id
    instance: int = 1
    """Of the captures that share the node's streams, the one that has it."""
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
    layers: tuple[LayerInfo, ...] = ()
    """Of a publisher that sends its pictures in several sizes; each is a rendition, with the tracks of `source`."""
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
    queue: int = 0
    """Pictures that may wait for the encoder: fewer than asked for where the stream's ring has fewer slots to spare."""
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
    """When it is finished: every file, the newest last; a crash, pictures of another size, or `segment` begin another
    one."""
    preroll_ns: int = 0
    """How far before its start the first file begins, of what `preroll` asked."""


Actual = (
    StreamActual | RenditionActual | OutputActual | SampleActual | MixActual | SignalActual | InputActual | RuleActual
)


class Presence(Struct, frozen=True, kw_only=True):
    """One running service on one node, refreshed while it lives."""

    service: Id
    node: Id
    instance: str
    number: int = 1
    """Of the instances that share the node's work."""
    hostname: str = ""
    """Of its container, or of the host."""
    version: str
    pid: int
    started_ns: int
    metrics_url: str = ""
    http_url: str = ""
    rtsp_url: str = ""
    """Where the streams can be pulled, of publishers."""
    shm_domain: str = ""
    """Equal for processes that see the same rings."""
    process_cpu_percent: float = 0.0
    """Of one core, since the refresh before, with its child processes; 100 is one core busy all the time."""
    rss_bytes: int = 0
    """Memory in use, with its child processes; what they share counts in each."""
    restarts: int = 0
    """How often its launcher has started it again; 0 where something else looks after it."""
    dropped: dict[str, int] = {}
    """What was left out since its start, by reason, where it tells so: of gateways."""
    at_ns: int = 0
    """CLOCK_REALTIME of its node when it wrote this: beside the bus's own time it shows a clock that is wrong."""

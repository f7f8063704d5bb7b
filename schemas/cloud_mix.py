"""The rules of a CloudMix task (version 2023-01-01), with the API's own field names where they are encoded.

Null is as if a field were not there, and fields that are not here are ignored. What one field alone cannot tell (each
source has its place, an address fits its type) is judged by cloud-mix-proxy's edge.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

SourceType = Literal["vod", "live", "pic"]
CloudMixStatus = Literal["pending", "prepare", "runing", "prestop", "done"]
"""`runing` is what the API's documents and clients say."""

MAX_SOURCES: Final = 8
MAX_LOGOS: Final = 4
MAX_OUTPUTS: Final = 8
MIN_EDGE_PIXELS: Final = 10
MAX_EDGE_PIXELS: Final = 2_160
VIDEO_BITRATE_RANGE: Final = (1_000_000, 20_000_000)
FRAME_RATE_RANGE: Final = (10, 60)
"""Of both, what lies outside is corrected to the nearest bound."""

Edge = Annotated[int, Meta(ge=MIN_EDGE_PIXELS, le=MAX_EDGE_PIXELS)]
Offset = Annotated[int, Meta(ge=0, le=MAX_EDGE_PIXELS)]
Layer = Annotated[int, Meta(ge=1, le=9_999)]
Url = Annotated[str, Meta(min_length=1, max_length=4_096)]
SourceId = Annotated[str, Meta(min_length=1, max_length=128)]
TaskName = Annotated[str, Meta(min_length=1, max_length=256)]
"""The API has no limits of names, ids and addresses; these keep a task within the size of a record."""


class InputSource(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What is mixed."""

    id: SourceId = field(name="ID")
    """Unique in the task; callbacks name the source so."""
    layer: Layer
    """1 is the bottom; unique in the task, as its place is found by it."""
    type: SourceType
    """A file (MP4, FLV) behind a URL · a live stream (RTMP, FLV) · a picture (png, jpg)."""
    url: Url


class SceneLayout(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where the source of the same layer is: the box that it is scaled to fit into, its aspect kept."""

    x: Offset
    """Pixels from the scene's left edge, at most its width; what passes an edge is cut off."""
    y: Offset
    w: Edge
    h: Edge
    layer: Layer


class LogoLayout(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where a logo is."""

    x: Offset
    y: Offset
    w: Edge
    h: Edge


class Logo(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A picture over all sources; drawn in their order."""

    layout: LogoLayout
    url: Url


class Scene(Struct, frozen=True, kw_only=True, rename="pascal"):
    """The canvas."""

    width: Edge
    height: Edge
    layout: tuple[SceneLayout, ...]
    """One for each source."""


class InputLayout(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Where everything is."""

    scene: Scene
    logo: Annotated[tuple[Logo, ...], Meta(max_length=MAX_LOGOS)] = ()


class OutputVideo(Struct, frozen=True, kw_only=True, rename="pascal"):
    bit_rate: int
    """bit/s, corrected to `VIDEO_BITRATE_RANGE`."""
    frame_rate: int
    """Pictures a second, corrected to `FRAME_RATE_RANGE`."""
    gop: Annotated[int, Meta(ge=1, le=10)] = field(name="GOP")
    """Seconds between key pictures, at most."""
    codec: Literal["h264", "h265"]


class OutputAudio(Struct, frozen=True, kw_only=True, rename="pascal"):
    bit_rate: Annotated[int, Meta(ge=128_000, le=320_000)]
    """bit/s."""
    channel_layout: Literal["mono", "stereo"]
    sample_rate: Annotated[int, Meta(ge=8_000, le=96_000)]
    """Hz; 32000, 44100 and 48000 are usual."""


class Callback(Struct, frozen=True, kw_only=True, rename="pascal"):
    url: Url
    """Told of the task's state."""


class Output(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Where the mix goes, and how."""

    url: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=MAX_OUTPUTS)]
    """Addresses to push to."""
    video: OutputVideo
    audio: OutputAudio
    callback: Callback | None = None
    """Of the creation; an update leaves it out, and does not change it."""


class MixedRules(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A task as it is asked for, the video's rates corrected."""

    input_source: Annotated[tuple[InputSource, ...], Meta(min_length=1, max_length=MAX_SOURCES)]
    input_layout: InputLayout
    output: Output

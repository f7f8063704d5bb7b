"""What travels when a picture or a block of sound is handed over: never the picture itself."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.ids import Id

PixelFormat = Literal[
    "yuv420p", "nv12", "bgr24", "rgb24", "gray",
    "gray10le", "gray12le", "gray16le",
    "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8",
    "bayer_rggb16le", "bayer_bggr16le", "bayer_gbrg16le", "bayer_grbg16le",
]  # fmt: skip
"""libav's names. `gray10le` and `gray12le` have their value in the low bits of 16."""
Clock = Literal["driver", "rtcp", "arrival"]
Delivery = Literal["live", "lossless"]
SampleFormat = Literal["s16", "flt"]

PositiveInt = Annotated[int, Meta(ge=1)]
NonNegativeInt = Annotated[int, Meta(ge=0)]
# The name of a file inside the shared-memory folder; no separators, so it can never point elsewhere.
RingName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,199}$(?!\n)")]


# Made and sent for every picture: what has its default is left out, and the garbage collector is not told of it, as no
# cycle can begin here.
class FrameRef(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A reference to one decoded picture in a frame ring.

    A frame's identity is (stream, epoch, sequence). The epoch grows with every new writer of the stream;
    consumers follow the highest. All times are integers in nanoseconds.
    """

    stream: Id
    node: Id
    epoch: NonNegativeInt
    sequence: NonNegativeInt
    """Counts up by one for every picture written in this epoch, starting at 1."""
    ring: RingName
    slot: NonNegativeInt
    pixel_format: PixelFormat
    width: PositiveInt
    height: PositiveInt
    pts_ns: int
    """Presentation time on the stream's timeline: CLOCK_REALTIME when the source was opened, then the media clock."""
    captured_ns: int
    """CLOCK_REALTIME of the capture instant, from the best clock known; see `clock`."""
    monotonic_ns: int
    """CLOCK_MONOTONIC of the same instant; comparable on one node only."""
    duration_ns: NonNegativeInt = 0
    """Nominal time to the next picture; 0 when the source does not tell."""
    clock: Clock = "arrival"
    delivery: Delivery = "live"
    consumer: str = ""
    """Of a lossless stream: who must consume this picture and give credit for it; others look on."""
    credit_every: PositiveInt = 1
    """Of a lossless stream: its consumer may give one credit for so many pictures, while more of them wait."""
    exposure_ns: NonNegativeInt = 0
    """How long this picture was exposed; 0 when the source does not tell."""
    colour_space: ColourSpace = UNSPECIFIED
    """How its samples are to be read."""
    metadata: dict[str, int | float | str | bool] = {}
    """What the camera says of this picture (GenICam chunk data), by the camera's own names; and the values of inputs
    that are attached to the stream, as they were when it was captured. At most 32 entries; the camera's own win."""


class FrameAck(Struct, frozen=True, kw_only=True):
    """Credit from the named consumer of a lossless stream: everything up to `sequence` is consumed."""

    stream: Id
    epoch: NonNegativeInt
    consumer: Id
    sequence: NonNegativeInt
    error: str = ""
    """Why the picture at `sequence` could not be used; empty when all went well."""


class AudioHeader(Struct, frozen=True, kw_only=True):
    """Describes the block of interleaved PCM samples that follows it in the same message (10-20 ms)."""

    stream: Id
    node: Id
    epoch: NonNegativeInt
    sequence: NonNegativeInt
    sample_rate: PositiveInt
    channels: PositiveInt
    sample_format: SampleFormat
    samples: PositiveInt
    """Samples per channel."""
    pts_ns: int
    captured_ns: int

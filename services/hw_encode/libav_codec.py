"""One encoder of libav at work: pictures in, packets out."""

from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.resources import RenditionSpec
from services.hw_encode.kinds import EncoderKind
from services.hw_encode.rates import Rate
from shared.media.colour.facts import mark
from shared.media.scheduling import usual_scheduling

TIME_BASE = Fraction(1, 90_000)  # the RTP clock of video; exact for every usual frame rate
# Key frames are forced by time, in `video.py`; libav's own counter must not add any.
_NO_AUTOMATIC_KEY_FRAMES = 1_000_000


class Encoded(NamedTuple):
    """A packet; its times in `TIME_BASE`."""

    payload: bytes
    pts: int | None
    dts: int | None
    key: bool


class EncoderFailed(Exception):
    """An encoder does not work here, or not any more; the text says why."""

    def __init__(self, reason: str, *, died: bool = False) -> None:
        """`died`: its process ended, or hung and was killed; the encoder itself has complained of nothing."""
        super().__init__(reason)
        self.died = died


class Codec(Protocol):
    """An open encoder. Belongs to one thread at a time."""

    keeps_input: bool
    """A picture may be read after `encode` has returned."""

    def encode(self, picture: VideoFrame) -> list[Encoded]:
        """The packets that came out.

        Raises:
            EncoderFailed: it is of no use any more; what was inside is lost.
        """

    def finish(self) -> list[Encoded]:
        """What is still inside; it takes no more pictures.

        Raises:
            EncoderFailed: that is lost.
        """

    def close(self) -> None:
        """Give back what it holds. Does not raise."""


class LibavCodec:
    """A `Codec` in this process."""

    def __init__(self, kind: EncoderKind, context: VideoCodecContext) -> None:
        self.keeps_input = kind.keeps_input
        self._context: VideoCodecContext | None = context

    def encode(self, picture: VideoFrame) -> list[Encoded]:
        return self._encode(picture)

    def finish(self) -> list[Encoded]:
        try:
            return self._encode(None)
        finally:
            self.close()

    def close(self) -> None:
        self._context = None  # libav's memory goes with it

    def _encode(self, picture: VideoFrame | None) -> list[Encoded]:
        assert self._context is not None  # it has not been closed
        try:
            packets = self._context.encode(picture)
        except av.FFmpegError as error:
            raise EncoderFailed(explain(error)) from error
        # The one copy of a packet: it leaves libav's memory for the bus and the packet ring.
        return [Encoded(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]


def open_codec(
    kind: EncoderKind,
    spec: RenditionSpec,
    width: int,
    height: int,
    fps: float,
    colour_space: ColourSpace = UNSPECIFIED,
) -> LibavCodec:
    """A `Codec` in this process.

    Raises:
        EncoderFailed: this encoder does not work here, or not with these parameters.
    """
    try:
        return LibavCodec(kind, open_encoder(kind, spec, width, height, fps, colour_space))
    except (av.FFmpegError, ValueError) as error:
        raise EncoderFailed(explain(error)) from error


def open_encoder(
    kind: EncoderKind,
    spec: RenditionSpec,
    width: int,
    height: int,
    fps: float,
    colour_space: ColourSpace = UNSPECIFIED,
) -> VideoCodecContext:
    """libav's own encoder, open, for pictures in the format of its kind.

    Raises:
        av.FFmpegError, ValueError: this encoder does not work here, or not with these parameters.
    """
    rate = Rate.of(spec)
    context = av.CodecContext.create(kind.name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = width, height
    context.pix_fmt = kind.pixel_format
    mark(context, colour_space)
    context.time_base = TIME_BASE
    context.framerate = Fraction(fps).limit_denominator(1001) if fps else Fraction(30)
    context.bit_rate = rate.bitrate
    context.gop_size = _NO_AUTOMATIC_KEY_FRAMES
    context.max_b_frames = spec.b_frames
    if threads := kind.threads(width * height):
        context.thread_count = threads
    context.options = {**kind.options(spec), **kind.rate(rate)}
    with usual_scheduling():
        context.open()
    return context


def explain(error: Exception) -> str:
    """What libav said, in a few words."""
    text: Any = getattr(error, "strerror", None) or str(error)
    return str(text).splitlines()[0][:80]

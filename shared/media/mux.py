"""Encoded packets into a container without encoding anything: MP4, FLV, RTSP and whatever else libav can mux.

libav's muxers want each codec's configuration (extradata) before the first packet. PyAV sets it only on a codec
context, and only a stream made from a template is muxed without opening an encoder: so each stream here is made
from a template of the right codec that lives in a container which is never written.
Annex B packets stay as they are: given Annex B extradata the MP4 and FLV muxers make length-prefixed samples
themselves, and the RTP packetiser splits at start codes.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol, cast

import av
import av.container
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from schemas.packets import PacketHeader, Track
from schemas.units import NS_PER_SECOND

_VIDEO_CLOCK_HZ = 90_000  # MPEG's clock: whole numbers for 24, 25, 30, 50 and 60 pictures/s, and RTP's own
# Encoders whose contexts serve as templates; they are never opened.
_TEMPLATE_CODECS = {
    "h264": "h264",
    "hevc": "hevc",
    "av1": "libsvtav1",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
    "mjpeg": "mjpeg",
    "aac": "aac",
    "opus": "libopus",
}
_WITHOUT_CONFIGURATION = frozenset(("vp8", "vp9", "mjpeg"))
_RATE_DENOMINATOR = 1_001  # of 30000/1001 pictures/s
# libav holds a packet back until every track has one, 10 s if it must; a microphone that falls silent must not
# hold the pictures back for longer than viewers notice.
_INTERLEAVE_MICROSECONDS = 500_000


@dataclass(frozen=True)
class TrackParameters:
    """What a muxer must know of a track before its first packet."""

    track: Track
    codec: str
    extradata: bytes
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0
    picture_ns: int = field(default=0, compare=False)
    """How long the first picture is shown, 0 when unknown: a hint for players, and no other track when it changes."""

    @classmethod
    def from_header(cls, header: PacketHeader) -> "TrackParameters | None":
        """The parameters a packet tells, or None while some are missing (extradata comes with key packets)."""
        bare = header.key and header.codec in _WITHOUT_CONFIGURATION
        if not header.extradata and not bare:
            return None
        if header.track == "video":
            if not (header.width and header.height):
                return None
            return cls(
                "video",
                header.codec,
                header.extradata,
                width=header.width,
                height=header.height,
                picture_ns=header.duration_ns,
            )
        if not (header.sample_rate and header.channels):
            return None
        return cls(
            header.track, header.codec, header.extradata, sample_rate=header.sample_rate, channels=header.channels
        )


class ByteSink(Protocol):
    """Where the bytes of a container go: called in the thread that muxes; an error raised here ends the mux call."""

    def write(self, data: bytes, /) -> int: ...


class Muxer:
    """One container being written. Belongs to one thread.

    Opening and closing hold Python's global lock for as long as libav needs (PyAV releases it only while a
    packet is written), so a target on the network is opened with libav's `fifo` muxer, which connects in a
    thread of its own: see `network_options`.
    """

    def __init__(
        self,
        target: str | ByteSink,
        container_format: str,
        tracks: Mapping[Track, TrackParameters],
        options: Mapping[str, str] | None = None,
        *,
        video_tag: str = "",
    ) -> None:
        """Open the container and write its header.

        `video_tag`: of several that the container has for the codec.

        Raises:
            av.FFmpegError, OSError: the target cannot be opened, or refuses the header.
        """
        self._container = av.open(
            target,
            "w",
            format=container_format,
            options={"max_interleave_delta": str(_INTERLEAVE_MICROSECONDS), "flush_packets": "1", **(options or {})},
        )
        self._closed = False
        self._last_dts: dict[Track, int] = {}
        self._streams: dict[Track, VideoStream | AudioStream] = {
            name: _add_stream(self._container, parameters) for name, parameters in tracks.items()
        }
        if video_tag:
            self._streams["video"].codec_context.codec_tag = video_tag
        self._container.start_encoding()
        # The muxer may have chosen other clocks (FLV counts milliseconds).
        self._clocks: dict[Track, Fraction] = {name: _clock_hz(stream) for name, stream in self._streams.items()}

    def write(
        self,
        track: Track,
        payload: bytes | memoryview,
        *,
        pts_ns: int,
        dts_ns: int,
        duration_ns: int = 0,
        key: bool = False,
    ) -> None:
        """Write one packet; decoding times that would not grow by a tick of the container's clock are moved up.

        Raises:
            KeyError: the container was opened without this track.
            av.FFmpegError, OSError: the target failed; for a network target perhaps at an earlier packet.
        """
        stream, clock = self._streams[track], self._clocks[track]
        # Into libav's own memory: a packet that only borrows Python's would need the global lock to be freed, and
        # the thread of the `fifo` muxer frees packets while closing holds that lock.
        packet = av.Packet(len(payload))
        packet.update(payload)  # type: ignore[arg-type]  # takes any buffer
        dts = max(_ticks(dts_ns, clock), self._last_dts.get(track, -1) + 1)
        self._last_dts[track] = dts
        packet.stream = stream
        packet.time_base = 1 / clock
        packet.dts = dts
        packet.pts = max(_ticks(pts_ns, clock), dts)
        packet.duration = _ticks(duration_ns, clock)
        packet.is_keyframe = key
        self._container.mux_one(packet)

    def close(self) -> None:
        """Write what is buffered and the trailer. Closing twice is harmless.

        Raises:
            av.FFmpegError, OSError: the target failed.
        """
        if not self._closed:
            self._closed = True
            self._container.close()


def network_options(container_format: str, options: Mapping[str, str]) -> dict[str, str]:
    """Options for `Muxer(url, "fifo", …)`: the real muxer runs in a thread of libav's own.

    With a queue of one packet, `write` waits (without the global lock) while the peer is slow, and raises the
    error that the thread met; connecting never stops the interpreter.
    """
    return {
        "fifo_format": container_format,
        "queue_size": "1",
        "format_opts": ":".join(f"{name}={_escaped(value)}" for name, value in options.items()),
    }


def _escaped(value: str) -> str:
    """A value inside a libav option list, as `av_get_token` reads it."""
    return re.sub(r"([:='\\])", r"\\\1", value)


def _add_stream(container: av.container.OutputContainer, parameters: TrackParameters) -> VideoStream | AudioStream:
    with av.open(io.BytesIO(), "w", format="matroska") as templates:
        template = templates.add_stream(_TEMPLATE_CODECS[parameters.codec])
        stream = cast(VideoStream | AudioStream, container.add_stream_from_template(template))
    context = stream.codec_context
    context.extradata = parameters.extradata
    if isinstance(stream, VideoStream):
        stream.codec_context.width, stream.codec_context.height = parameters.width, parameters.height
        stream.time_base = Fraction(1, _VIDEO_CLOCK_HZ)
        if parameters.picture_ns > 0:  # Matroska's milliseconds make players guess 24 pictures/s of 30
            rate = Fraction(NS_PER_SECOND, parameters.picture_ns)
            stream.codec_context.framerate = rate.limit_denominator(_RATE_DENOMINATOR)
    else:
        stream.codec_context.sample_rate = parameters.sample_rate
        stream.codec_context.layout = _LAYOUTS.get(parameters.channels, f"{parameters.channels} channels")
        stream.time_base = Fraction(1, parameters.sample_rate)
    return stream


_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def _clock_hz(stream: VideoStream | AudioStream) -> Fraction:
    return 1 / cast(Fraction, stream.time_base)  # set by start_encoding


def _ticks(nanoseconds: int, clock_hz: Fraction) -> int:
    # In integers: Fraction arithmetic costs 2 us a call and would be most of what a packet costs here.
    divisor = clock_hz.denominator * NS_PER_SECOND
    return (nanoseconds * clock_hz.numerator + divisor // 2) // divisor

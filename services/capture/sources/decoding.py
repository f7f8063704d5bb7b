"""Decoding what a container holds: pictures into the ring, sound to the bus, from a key frame on."""

import logging
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import av
import numpy as np

from schemas.resources import StreamSpec
from schemas.units import NS_PER_SECOND
from services.capture.sink import StreamSink
from services.capture.sound_blocks import RAW_SAMPLE_RATE
from services.capture.sources.sender_clock import Captured
from shared.media.colour.facts import mark, said

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.packet import Packet

log = logging.getLogger(__name__)

_BLOCK_SAMPLES = 960  # 20 ms at 48 kHz
_MAX_ARRIVALS = 64  # pictures inside the decoder at once; more is a stream without timestamps


class CodedTrack(Protocol):
    """What a decoder must know of a track: a stream of libav's, or what says the same."""

    @property
    def type(self) -> str: ...

    @property
    def codec_context(self) -> Any: ...


class Decoder:
    """Decodes one stream's video into the ring and its audio to the bus, from a key frame on."""

    def __init__(self, video: "CodedTrack | None", audio: "CodedTrack | None", spec: StreamSpec) -> None:
        self._spec = spec
        self._video = fresh_decoder(video) if video else None
        self._audio = fresh_decoder(audio) if audio else None
        # Stereo at most: what a browser plays; a camera's mono stays mono.
        self._channels = 1 if audio and audio.codec_context.channels == 1 else 2
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None
        """Sample format, layout and rate of the sound that the resampler takes."""
        self._arrivals: dict[int, tuple[int, Captured]] = {}
        self._audio_base: tuple[int, int] | None = None
        self._seen_key = False

    def decode(
        self, packet: "Packet[Any]", pts_ns: int, captured: Captured, sink: StreamSink | None, *, video: bool
    ) -> None:
        """Decode one packet; with `sink` None only to prepare for later ones."""
        if video:
            self._seen_key = self._seen_key or packet.is_keyframe
            if self._seen_key:
                self._decode_video(packet, pts_ns, captured, sink)
        elif sink:
            self._decode_audio(packet, pts_ns, captured.ns, sink)

    def finish(self, sink: StreamSink) -> None:
        """The media has ended: show the pictures still inside the decoder, play the rest of a block of sound."""
        if self._video and self._seen_key:
            for frame in self._video.decode(None):
                self._show(frame, sink)
        self._finish_sound(time.time_ns(), sink)

    def _finish_sound(self, arrived_ns: int, sink: StreamSink) -> None:
        if self._resampler and self._audio_base:
            self._play(self._resampler.resample(None), arrived_ns, sink)

    def _decode_video(self, packet: "Packet[Any]", pts_ns: int, captured: Captured, sink: StreamSink | None) -> None:
        assert self._video is not None
        if packet.pts is not None:
            self._arrivals[packet.pts] = (pts_ns, captured)
            if len(self._arrivals) > _MAX_ARRIVALS:
                del self._arrivals[next(iter(self._arrivals))]
        try:
            decoded = self._video.decode(packet)
        except av.error.InvalidDataError as error:  # a damaged picture: the next ones may be whole
            log.debug("picture not decoded: %s", error, extra={"stream": self._spec.stream})
            if sink:
                sink.dropped["damaged"] += 1
            return
        for frame in decoded:
            if sink:
                self._show(frame, sink, fallback=(pts_ns, captured))

    def _show(self, frame: Any, sink: StreamSink, fallback: tuple[int, Captured] | None = None) -> None:
        known = self._arrivals.pop(frame.pts, fallback) if frame.pts is not None else fallback
        if known is None:
            return
        pts_ns, captured = known
        # Copied into its slot, because the decoder keeps its own pictures as references for later ones.
        sink.frame(
            frame,
            pts_ns=pts_ns,
            duration_ns=to_ns(frame.duration or 0, frame.time_base) if frame.time_base else 0,
            captured_ns=captured.ns,
            clock=captured.clock,
        )

    def _decode_audio(self, packet: "Packet[Any]", pts_ns: int, arrived_ns: int, sink: StreamSink) -> None:
        assert self._audio is not None
        try:
            decoded = self._audio.decode(packet)
        except av.error.InvalidDataError as error:
            log.debug("sound not decoded: %s", error, extra={"stream": self._spec.stream})
            return
        for frame in decoded:
            resampler = self._resampler_for(frame, arrived_ns, sink)
            if self._audio_base is None and frame.pts is not None and frame.time_base is not None:
                self._audio_base = (to_ns(frame.pts, frame.time_base), pts_ns)
            self._play(resampler.resample(frame), arrived_ns, sink)

    def _resampler_for(self, frame: "AudioFrame", arrived_ns: int, sink: StreamSink) -> "av.AudioResampler":
        """One resampler takes one form of sound, and a stream may go on in another: an advertisement, a joined file."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or form != self._form:
            self._finish_sound(arrived_ns, sink)
            layout = "mono" if self._channels == 1 else "stereo"
            self._resampler = av.AudioResampler("s16", layout, RAW_SAMPLE_RATE, frame_size=_BLOCK_SAMPLES)
            self._form, self._audio_base = form, None
        return self._resampler

    def _play(self, blocks: "list[AudioFrame]", arrived_ns: int, sink: StreamSink) -> None:
        for block in blocks:
            if block.pts is None or block.time_base is None or self._audio_base is None:
                continue
            base_media_ns, base_pts_ns = self._audio_base
            samples = block.to_ndarray().astype(np.int16, copy=False).reshape(-1, self._channels)
            pts_ns = base_pts_ns + to_ns(block.pts, block.time_base) - base_media_ns
            sink.sound(samples, pts_ns=pts_ns, captured_ns=arrived_ns)


def fresh_decoder(stream: CodedTrack) -> Any:
    """A decoder of its own for the stream, so that decoding can end and begin again at any key frame."""
    context = av.CodecContext.create(stream.codec_context.name, "r")
    context.extradata = stream.codec_context.extradata
    if stream.type == "video":
        # Slices, not frames: frame threads hold pictures back, and a live picture must not wait for the next.
        context.thread_type = "SLICE"
        context.width, context.height = stream.codec_context.width, stream.codec_context.height
        # What the container says; what the packets say goes before it.
        mark(context, said(stream.codec_context))
        if stream.codec_context.format is not None:
            context.pix_fmt = stream.codec_context.format.name
    else:
        context.sample_rate = stream.codec_context.sample_rate
        context.layout = stream.codec_context.layout
    return context


def to_ns(value: int, base: Fraction) -> int:
    """A time in units of `base` seconds, in nanoseconds."""
    return value * base.numerator * NS_PER_SECOND // base.denominator

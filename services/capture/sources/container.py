"""What every source that libav can read has in common: demux, forward packets, decode while somebody looks."""

import logging
import threading
import time
from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from schemas.errors import BadRequest
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from schemas.units import parse_size
from services.capture.sink import RAW_SAMPLE_RATE, StreamSink
from services.capture.sources.forwarding import AudioForwarder, VideoForwarder, audio_forwarder, video_forwarder
from shared.media.frames import copy_planes
from shared.media.pacing import Pacer
from shared.netguard import explain_av_error
from shared.ring import RingGeometry

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

_NS = 1_000_000_000
# How libav looks at a live source: nothing is kept back; as soon as every track's parameters are known it is enough,
# without guessing the frame rate. They come with a key picture, so until then looking must go on.
PROBING = {"fflags": "nobuffer", "fpsprobesize": "0", "analyzeduration": "4000000"}  # µs, below the open timeout
_BLOCK_SAMPLES = 960  # 20 ms at 48 kHz
# Packets since the last key frame, kept so that decoding can begin at any moment; beyond this the next key is awaited.
_MAX_GROUP_PACKETS = 900
_MAX_GROUP_BYTES = 32 << 20
_MAX_ARRIVALS = 64  # pictures inside the decoder at once; more is a stream without timestamps


class Timeline:
    """Turns a container's time into the stream's: CLOCK_REALTIME at opening, then the media clock."""

    def __init__(self) -> None:
        self._base_ns: int | None = None
        self._first_ns = 0
        self._end_ns = 0

    def restart(self) -> None:
        """The media starts again (a loop): it goes on where it ended."""
        if self._base_ns is not None:
            self._base_ns = self._end_ns
            self._first_ns = -1

    def place(self, media_ns: int, duration_ns: int = 0) -> int:
        """The stream's time of `media_ns`."""
        if self._base_ns is None:
            self._base_ns, self._first_ns = time.time_ns(), media_ns
        elif self._first_ns == -1:
            self._first_ns = media_ns
        placed = self._base_ns + media_ns - self._first_ns
        self._end_ns = max(self._end_ns, placed + duration_ns)
        return placed


class ContainerPlayer:
    """Plays one opened container into a sink."""

    def __init__(self, container: "InputContainer", spec: StreamSpec, what: str, *, paced: bool) -> None:
        """Args:
        what: name of the source for error texts, without credentials.
        paced: play at the speed of the media clock (files); live sources come at their own.

        Raises:
            BadRequest: there is neither video nor audio in it.
        """
        self._container = container
        self._spec = spec
        self._what = what
        self._video: VideoStream | None = container.streams.video[0] if container.streams.video else None
        self._audio: AudioStream | None = container.streams.audio[0] if container.streams.audio and spec.audio else None
        if self._video is None and self._audio is None:
            raise BadRequest(f"source {what}: there is no video or audio in it")
        self._timeline = Timeline()
        self._pacer = Pacer() if paced else None
        self._video_forwarder: VideoForwarder | None = video_forwarder(self._video) if self._video else None
        self._audio_forwarder: AudioForwarder | None = audio_forwarder(self._audio) if self._audio else None
        self._decoder: _Decoder | None = None
        self._group: deque[Any] = deque()
        self._group_bytes = 0

    def announce(self, sink: StreamSink) -> None:
        """Tell the sink what this is."""
        video = audio = None
        if self._video:
            # The guess is of fields, so twice the truth for much of H.264.
            rate = self._video.average_rate or self._video.codec_context.framerate or self._video.guessed_rate
            video = VideoInfo(
                codec=self._video.codec_context.name,
                width=self._video.width,
                height=self._video.height,
                fps=round(float(rate or 0), 3),
            )
        if self._audio:
            audio = AudioInfo(
                codec=self._audio.codec_context.name,
                sample_rate=self._audio.codec_context.sample_rate,
                channels=self._audio.codec_context.channels,
            )
        tracks = [forwarder.track for forwarder in (self._video_forwarder, self._audio_forwarder) if forwarder]
        sink.live(video, audio, tuple(tracks))

    def play(self, sink: StreamSink, stop: threading.Event) -> None:
        """Deliver until the end of the media or `stop`.

        Raises:
            MeshError: the source broke.
        """
        wanted = [stream for stream in (self._video, self._audio) if stream]
        try:
            for packet in self._container.demux(*wanted):
                if stop.is_set():
                    return
                if not packet.size:  # the demuxer's end marks
                    continue
                if not self._deliver(packet, sink, stop):
                    return
            if self._decoder:
                self._decoder.finish(sink)
        except av.FFmpegError as error:
            raise explain_av_error(error, self._what) from None

    def rewind(self) -> None:
        """Start the media again from its beginning, the timeline going on.

        Raises:
            MeshError: this container cannot seek.
        """
        try:
            self._container.seek(0)
        except av.FFmpegError as error:
            raise explain_av_error(error, self._what) from None
        self._timeline.restart()
        self._decoder = None
        self._forget_group()

    def _deliver(self, packet: "Packet[Any]", sink: StreamSink, stop: threading.Event) -> bool:
        base = packet.time_base
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:  # a live source's first packets may have no time yet; nothing can be placed without
            return True
        dts_ns = _to_ns(dts, base)
        duration_ns = _to_ns(packet.duration or 0, base)
        placed_dts_ns = self._timeline.place(dts_ns, duration_ns)
        if self._pacer and not self._pacer.wait(placed_dts_ns, stop):
            return False
        arrived_ns = time.time_ns()
        pts_ns = placed_dts_ns + (_to_ns(packet.pts - dts, base) if packet.pts is not None else 0)
        is_video = packet.stream is self._video
        forwarder = self._video_forwarder if is_video else self._audio_forwarder
        if forwarder:
            forwarder.forward(
                packet, sink, pts_ns=pts_ns, dts_ns=placed_dts_ns, duration_ns=duration_ns, captured_ns=arrived_ns
            )
        if is_video:
            self._remember(packet, pts_ns, arrived_ns)
        self._decode(packet, pts_ns, arrived_ns, sink)
        return True

    # -- decoding only while somebody looks ------------------------------------------------------------------

    def _decode(self, packet: "Packet[Any]", pts_ns: int, arrived_ns: int, sink: StreamSink) -> None:
        if not sink.wants_raw:
            self._decoder = None
        elif self._decoder is None:
            # Begin in the middle of a group of pictures: decode what led here, show only what is new.
            self._decoder = _Decoder(self._video, self._audio, self._spec)
            for earlier, earlier_pts_ns, _ in list(self._group)[:-1]:
                self._decoder.decode(earlier, earlier_pts_ns, arrived_ns, None)
            self._decoder.decode(packet, pts_ns, arrived_ns, sink)
        else:
            self._decoder.decode(packet, pts_ns, arrived_ns, sink)
        sink.decoding(self._decoder is not None)

    def _remember(self, packet: "Packet[Any]", pts_ns: int, arrived_ns: int) -> None:
        if packet.is_keyframe:
            self._forget_group()
        elif not self._group:
            return  # no key frame yet, or the group grew too large: wait for the next
        self._group.append((packet, pts_ns, arrived_ns))
        self._group_bytes += packet.size
        if len(self._group) > _MAX_GROUP_PACKETS or self._group_bytes > _MAX_GROUP_BYTES:
            self._forget_group()

    def _forget_group(self) -> None:
        self._group.clear()
        self._group_bytes = 0


class _Decoder:
    """Decodes one stream's video into the ring and its audio to the bus, from a key frame on."""

    def __init__(self, video: "VideoStream | None", audio: "AudioStream | None", spec: StreamSpec) -> None:
        self._spec = spec
        self._size = parse_size(spec.size) if spec.size else None
        self._video = _fresh_decoder(video) if video else None
        self._audio = _fresh_decoder(audio) if audio else None
        self._video_index = video.index if video else -1
        # Stereo at most: what a browser plays; a camera's mono stays mono.
        layout = "mono" if audio and audio.codec_context.channels == 1 else "stereo"
        self._channels = 1 if layout == "mono" else 2
        self._resampler = av.AudioResampler(
            format="s16", layout=layout, rate=RAW_SAMPLE_RATE, frame_size=_BLOCK_SAMPLES
        )
        self._arrivals: dict[int, tuple[int, int]] = {}
        self._audio_base: tuple[int, int] | None = None
        self._seen_key = False

    def decode(self, packet: "Packet[Any]", pts_ns: int, arrived_ns: int, sink: StreamSink | None) -> None:
        """Decode one packet; with `sink` None only to prepare for later ones."""
        if packet.stream.index == self._video_index:
            self._seen_key = self._seen_key or packet.is_keyframe
            if self._seen_key:
                self._decode_video(packet, pts_ns, arrived_ns, sink)
        elif sink:
            self._decode_audio(packet, pts_ns, arrived_ns, sink)

    def finish(self, sink: StreamSink) -> None:
        """The media has ended: show the pictures still inside the decoder, play the rest of a block of sound."""
        if self._video and self._seen_key:
            for frame in self._video.decode(None):
                self._show(frame, sink)
        if self._audio_base:
            self._play(self._resampler.resample(None), time.time_ns(), sink)

    def _decode_video(self, packet: "Packet[Any]", pts_ns: int, arrived_ns: int, sink: StreamSink | None) -> None:
        assert self._video is not None
        if packet.pts is not None:
            self._arrivals[packet.pts] = (pts_ns, arrived_ns)
            if len(self._arrivals) > _MAX_ARRIVALS:
                del self._arrivals[next(iter(self._arrivals))]
        try:
            decoded = self._video.decode(packet)
        except av.error.InvalidDataError as error:  # a damaged picture: the next ones may be whole
            log.debug("picture not decoded: %s", error, extra={"stream": self._spec.stream})
            return
        for frame in decoded:
            if sink:
                self._show(frame, sink, fallback=(pts_ns, arrived_ns))

    def _show(self, frame: Any, sink: StreamSink, fallback: tuple[int, int] | None = None) -> None:
        known = self._arrivals.pop(frame.pts, fallback) if frame.pts is not None else fallback
        if known is None:
            return
        pts_ns, arrived_ns = known
        width, height = self._size or (frame.width & ~1, frame.height & ~1)
        if frame.format.name != "yuv420p" or (width, height) != (frame.width, frame.height):
            frame = frame.reformat(width=width, height=height, format="yuv420p")
        # Copied into its slot, because the decoder keeps its own pictures as references for later ones.
        sink.picture(
            RingGeometry(pixel_format="yuv420p", width=width, height=height),
            lambda array: copy_planes(frame, array),
            pts_ns=pts_ns,
            duration_ns=_to_ns(frame.duration or 0, frame.time_base) if frame.time_base else 0,
            captured_ns=arrived_ns,
        )

    def _decode_audio(self, packet: "Packet[Any]", pts_ns: int, arrived_ns: int, sink: StreamSink) -> None:
        assert self._audio is not None
        try:
            decoded = self._audio.decode(packet)
        except av.error.InvalidDataError as error:
            log.debug("sound not decoded: %s", error, extra={"stream": self._spec.stream})
            return
        for frame in decoded:
            if self._audio_base is None and frame.pts is not None and frame.time_base is not None:
                self._audio_base = (_to_ns(frame.pts, frame.time_base), pts_ns)
            self._play(self._resampler.resample(frame), arrived_ns, sink)

    def _play(self, blocks: "list[AudioFrame]", arrived_ns: int, sink: StreamSink) -> None:
        for block in blocks:
            if block.pts is None or block.time_base is None or self._audio_base is None:
                continue
            base_media_ns, base_pts_ns = self._audio_base
            samples = block.to_ndarray().astype(np.int16, copy=False).reshape(-1, self._channels)
            pts_ns = base_pts_ns + _to_ns(block.pts, block.time_base) - base_media_ns
            sink.sound(samples, pts_ns=pts_ns, captured_ns=arrived_ns)


def _fresh_decoder(stream: Any) -> Any:
    """A decoder of its own for the stream, so that decoding can end and begin again at any key frame."""
    context = av.CodecContext.create(stream.codec_context.name, "r")
    context.extradata = stream.codec_context.extradata
    if stream.type == "video":
        # Slices, not frames: frame threads hold pictures back, and a live picture must not wait for the next.
        context.thread_type = "SLICE"
        context.width, context.height = stream.codec_context.width, stream.codec_context.height
        if stream.codec_context.format is not None:
            context.pix_fmt = stream.codec_context.format.name
    else:
        context.sample_rate = stream.codec_context.sample_rate
        context.layout = stream.codec_context.layout
    return context


def _to_ns(value: int, base: Fraction) -> int:
    return value * base.numerator * _NS // base.denominator

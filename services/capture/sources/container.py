"""What every source that libav can read has in common: demux, forward packets, decode while somebody looks."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import av

from schemas.errors import BadRequest, Unavailable
from schemas.resources import AudioInfo, StreamSpec, VideoInfo
from services.capture.sink import StreamSink
from services.capture.sources.decoding import fresh_decoder, to_ns
from services.capture.sources.decoding_times import with_decoding_times
from services.capture.sources.forwarding import AudioForwarder, VideoForwarder, audio_forwarder, video_forwarder
from services.capture.sources.on_demand import OnDemandDecoding
from services.capture.sources.replay import Replay
from services.capture.sources.sender_clock import Captured, SenderClock
from shared.media.pacing import Pacer
from shared.netguard import explain_av_error

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

# How libav looks at a live source: nothing is kept back; as soon as every track's parameters are known it is enough,
# without guessing the frame rate. They come with a key picture, so until then looking must go on.
PROBING = {"fflags": "nobuffer", "fpsprobesize": "0", "analyzeduration": "4000000"}  # µs, below the open timeout
# One connection to a server may have one sender after the other in it, and says what the next one's tracks are like.
_FLV = frozenset(("flv", "live_flv"))
# A camera's clock may be put right by less, and so may the order of packets be wrong by less.
_SAME_SENDER_NS = 1_000_000_000


class Timeline:
    """Turns a container's time into the stream's: CLOCK_REALTIME at opening, then the media clock."""

    def __init__(self) -> None:
        self._base_ns: int | None = None
        self._first_ns: int | None = None
        """The container's time at `_base_ns`; None: that of what comes next."""
        self._end_ns = 0

    def restart(self) -> None:
        """The media starts again (a loop): it goes on where it ended."""
        if self._base_ns is not None:
            self._base_ns, self._first_ns = self._end_ns, None

    def begin_anew(self) -> None:
        """Another count of time begins: now, and behind all that was."""
        self._base_ns = None

    def place(self, dts_ns: int, pts_ns: int, duration_ns: int = 0) -> int:
        """The stream's time of `dts_ns`. What is shown at `pts_ns` lasts for `duration_ns`."""
        if self._base_ns is None:
            self._base_ns, self._first_ns = max(time.time_ns(), self._end_ns), dts_ns
        elif self._first_ns is None:
            self._first_ns = (
                pts_ns  # seen when the last picture ends; decoded before that, where pictures are reordered
            )
        offset_ns = self._base_ns - (self._first_ns or 0)
        self._end_ns = max(self._end_ns, offset_ns + pts_ns + duration_ns)
        return offset_ns + dts_ns


class ContainerPlayer:
    """Plays one opened container into a sink."""

    def __init__(
        self,
        container: "InputContainer",
        spec: StreamSpec,
        what: str,
        *,
        paced: bool,
        timeline: Timeline | None = None,
        pacer: Pacer | None = None,
        replay: Replay | None = None,
        from_key: bool = False,
    ) -> None:
        """Args:
        what: name of the source for error texts, without credentials.
        paced: play at the speed of the media clock (files); live sources come at their own.
        timeline, pacer: of what was played before, for containers that follow one another.
        replay: what was played before, and is left out when it is offered again.
        from_key: begin with a key picture; what libav has kept from before it is left out.

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
        self._timeline = timeline or Timeline()
        self._pacer = (pacer or Pacer()) if paced else None
        self._replay = replay
        self._awaits_key = from_key and self._video is not None
        # Its own packets would show what masks hide; sound alone is no rendition of the stream either.
        carried = not spec.masks
        self._video_forwarder: VideoForwarder | None = video_forwarder(self._video) if self._video and carried else None
        self._audio_forwarder: AudioForwarder | None = audio_forwarder(self._audio) if self._audio and carried else None
        self._sender_clock = SenderClock() if container.format.name == "rtsp" else None
        self._size = (self._video.width, self._video.height) if self._video else (0, 0)
        self._sizing: VideoCodecContext | None = None
        self._decoding = OnDemandDecoding(self._video, self._audio, spec)
        self._last_dts_ns: dict[int, int] = {}
        self._other_sender = False

    def announce(self, sink: StreamSink) -> None:
        """Tell the sink what this is; at the first key picture, when there was none yet to tell the size."""
        if self._video and not all(self._size):
            self._sizing = fresh_decoder(self._video)
        else:
            sink.live(*self.what())

    def what(self) -> tuple[VideoInfo | None, AudioInfo | None, tuple[str, ...]]:
        """Video, sound and the tracks that are forwarded, as `StreamSink.live` takes them."""
        video = audio = None
        if self._video:
            # The guess is of fields, so twice the truth for much of H.264.
            rate = self._video.average_rate or self._video.codec_context.framerate or self._video.guessed_rate
            video = VideoInfo(
                codec=self._video.codec_context.name,
                width=self._size[0],
                height=self._size[1],
                fps=round(float(rate or 0), 3),
            )
        if self._audio:
            audio = AudioInfo(
                codec=self._audio.codec_context.name,
                sample_rate=self._audio.codec_context.sample_rate,
                channels=self._audio.codec_context.channels,
            )
        tracks = [forwarder.track for forwarder in (self._video_forwarder, self._audio_forwarder) if forwarder]
        return video, audio, tuple(tracks)

    def play(self, sink: StreamSink, stop: threading.Event) -> None:
        """Deliver until the end of the media or `stop`.

        Raises:
            MeshError: the source broke.
        """
        wanted = [stream for stream in (self._video, self._audio) if stream]
        packets: Iterable[Packet[Any]] = self._container.demux(*wanted)
        try:
            for packet in with_decoding_times(packets, self._video) if self._pacer else packets:
                if stop.is_set():
                    return
                if not packet.size:  # the demuxer's end marks
                    continue
                if self._replay is not None and self._replay.seen(packet):
                    continue
                if not self._deliver(packet, sink, stop):
                    return
            self._decoding.finish(sink)
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
        self._decoding.restart()

    def _deliver(self, packet: "Packet[Any]", sink: StreamSink, stop: threading.Event) -> bool:
        if self._sizing and not self._find_size(self._sizing, packet, sink):
            return True
        base = packet.time_base
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:  # a live source's first packets may have no time yet; nothing can be placed without
            return True
        dts_ns = to_ns(dts, base)
        ahead_ns = to_ns(packet.pts - dts, base) if packet.pts is not None else 0
        duration_ns = to_ns(packet.duration or 0, base)
        if self._pacer is None:
            self._look_at_sender(packet, dts_ns, sink)
        if self._awaits_key and not self._is_key(packet, sink):
            return True
        placed_dts_ns = self._timeline.place(dts_ns, dts_ns + ahead_ns, duration_ns)
        if self._pacer and not self._pacer.wait(placed_dts_ns, stop):
            return False
        captured = Captured.now()
        pts_ns = placed_dts_ns + ahead_ns
        is_video = packet.stream is self._video
        if is_video:
            sink.arrived(packet.size)
            if self._sender_clock:
                captured = self._sender_clock.captured(packet, captured.ns)
        elif self._video is None:
            sink.heard(packet.size)
        forwarder = self._video_forwarder if is_video else self._audio_forwarder
        if forwarder:
            try:
                forwarder.forward(
                    packet, sink, pts_ns=pts_ns, dts_ns=placed_dts_ns, duration_ns=duration_ns, captured_ns=captured.ns
                )
            except BadRequest as error:
                if self._pacer is None:
                    raise
                # A file that is cut off ends in half a picture; what was before it is whole.
                log.debug("packet left out: %s", error, extra={"stream": self._spec.stream})
                sink.dropped["damaged"] += 1
                sink.gap()
        self._decoding.take(packet, pts_ns, captured, sink, video=is_video)
        return True

    def _is_key(self, packet: "Packet[Any]", sink: StreamSink) -> bool:
        if packet.stream is not self._video:
            return False
        self._awaits_key = not packet.is_keyframe
        if self._awaits_key:
            sink.arrived(packet.size)
        return not self._awaits_key

    def _find_size(self, decoder: "VideoCodecContext", packet: "Packet[Any]", sink: StreamSink) -> bool:
        """Announce the source with the size of its first key picture; what comes before it nobody can use."""
        if packet.stream is not self._video or not packet.is_keyframe:
            return False
        with contextlib.suppress(av.error.InvalidDataError):  # damaged: the next one, then
            decoder.decode(packet)
        if not (decoder.width and decoder.height):
            return False
        self._size, self._sizing = (decoder.width, decoder.height), None
        if self._video_forwarder:
            self._video_forwarder.size = self._size
        self.announce(sink)
        return True

    def _look_at_sender(self, packet: "Packet[Any]", dts_ns: int, sink: StreamSink) -> None:
        """A server may hand the next sender's packets to the connection of the one before. They are taken for the same
        stream where they say that they are like those before; else only opening again finds out what they are.

        Raises:
            Unavailable: the media clock has gone back.
        """
        index = packet.stream.index
        last_ns = self._last_dts_ns.get(index, dts_ns)
        if dts_ns < last_ns - _SAME_SENDER_NS:
            if self._container.format.name not in _FLV or self._video is None:
                raise Unavailable(f"source {self._what}: the sender began again")
            log.info("the sender began again", extra={"stream": self._spec.stream})
            self._last_dts_ns.clear()
            self._awaits_key = self._other_sender = True
            self._timeline.begin_anew()
            self._decoding.restart()
            sink.gap()
            last_ns = dts_ns
        self._last_dts_ns[index] = max(dts_ns, last_ns)
        if not self._other_sender or not packet.has_sidedata("new_extradata"):
            return
        if bytes(packet.get_sidedata("new_extradata")) != (packet.stream.codec_context.extradata or b""):
            raise Unavailable(f"source {self._what}: the sender began again, with another size or codec")

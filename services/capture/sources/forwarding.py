"""The source's own packets, brought to the form they have on the bus: rendition `source`.

Video becomes Annex B with the parameter sets in band at every key frame; AAC loses its ADTS header, if it has one.
"""

from typing import TYPE_CHECKING, Any, Literal

from schemas.frames import NonNegativeInt
from services.capture.sink import StreamSink
from shared.media import bitstream
from shared.media.adts import strip_adts

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet
    from av.video.stream import VideoStream

_VIDEO_CODECS: dict[str, Literal["h264", "hevc"]] = {"h264": "h264", "hevc": "hevc"}
_AUDIO_TRACKS: dict[str, Literal["aac", "opus"]] = {"aac": "aac", "opus": "opus", "libopus": "opus"}


class VideoForwarder:
    track: Literal["video"] = "video"

    def __init__(self, stream: "VideoStream", codec: Literal["h264", "hevc"]) -> None:
        extradata = stream.codec_context.extradata or b""
        self._codec = codec
        self._length_bytes = (
            0 if not extradata or bitstream.is_annexb(extradata) else bitstream.nal_length_bytes(extradata, codec)
        )
        self._extradata = bitstream.extradata_to_annexb(extradata, codec) if extradata else b""
        self.size: tuple[NonNegativeInt, NonNegativeInt] = (stream.width, stream.height)
        self._reordered = bool(stream.codec_context.has_b_frames)
        self._seen_key = False

    def forward(
        self, packet: "Packet[Any]", sink: StreamSink, *, pts_ns: int, dts_ns: int, duration_ns: int, captured_ns: int
    ) -> None:
        # A source that is joined within a group of pictures: nobody can begin with what is left of it.
        self._seen_key = self._seen_key or packet.is_keyframe
        if not self._seen_key:
            return
        # The one copy of a packet: it leaves libav's memory for the bus and the packet ring.
        payload = bytes(packet)
        if self._length_bytes and not bitstream.is_annexb(payload):
            payload = bitstream.avcc_to_annexb(payload, self._length_bytes)
        key = packet.is_keyframe
        payload = bitstream.ensure_parameter_sets(payload, self._extradata, key, self._codec)
        if key and not self._extradata:
            self._extradata = bitstream.parameter_sets(payload, self._codec)
        self._reordered = self._reordered or pts_ns != dts_ns
        sink.packet(
            payload,
            track=self.track,
            codec=self._codec,
            key=key,
            pts_ns=pts_ns,
            dts_ns=dts_ns,
            duration_ns=duration_ns,
            captured_ns=captured_ns,
            width=self.size[0],
            height=self.size[1],
            reordered=self._reordered,
            extradata=self._extradata if key else b"",
        )


class AudioForwarder:
    def __init__(self, stream: "AudioStream", track: Literal["aac", "opus"]) -> None:
        context = stream.codec_context
        self.track = track
        self._sample_rate = context.sample_rate
        self._channels = context.channels
        self._extradata = context.extradata or b""

    def forward(
        self, packet: "Packet[Any]", sink: StreamSink, *, pts_ns: int, dts_ns: int, duration_ns: int, captured_ns: int
    ) -> None:
        payload = bytes(packet)
        if self.track == "aac":
            payload, configuration = strip_adts(payload)
            self._extradata = self._extradata or configuration
        sink.packet(
            payload,
            track=self.track,
            codec=self.track,
            key=True,
            pts_ns=pts_ns,
            dts_ns=dts_ns,
            duration_ns=duration_ns,
            captured_ns=captured_ns,
            sample_rate=self._sample_rate,
            channels=self._channels,
            extradata=self._extradata,
        )


def video_forwarder(stream: "VideoStream") -> VideoForwarder | None:
    """A forwarder, or None when the mesh does not carry this codec (its frames still are decoded)."""
    codec = _VIDEO_CODECS.get(stream.codec_context.name)
    return VideoForwarder(stream, codec) if codec else None


def audio_forwarder(stream: "AudioStream") -> AudioForwarder | None:
    """A forwarder, or None when the mesh does not carry this codec (its sound still is decoded)."""
    track = _AUDIO_TRACKS.get(stream.codec_context.name)
    return AudioForwarder(stream, track) if track else None

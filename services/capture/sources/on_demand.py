"""Decoding only while somebody looks: packets since the last key picture are kept, so it can begin at any moment."""

from collections import deque
from typing import TYPE_CHECKING, Any

from schemas.resources import StreamSpec
from services.capture.sink import StreamSink
from services.capture.sources.decoding import CodedTrack, Decoder, fresh_decoder
from services.capture.sources.key_pictures import KeyPictures
from services.capture.sources.sender_clock import Captured

if TYPE_CHECKING:
    from av.packet import Packet

# Beyond these the next key picture is awaited.
_MAX_GROUP_PACKETS = 900
_MAX_GROUP_BYTES = 32 << 20


class OnDemandDecoding:
    """Takes every packet of a source; decodes pictures and sound while the sink wants them."""

    def __init__(self, video: CodedTrack | None, audio: CodedTrack | None, spec: StreamSpec) -> None:
        self._video, self._audio, self._spec = video, audio, spec
        # Apart: where voices are listened for and nobody looks, only the sound is decoded.
        self._pictures: Decoder | None = None
        self._sound: Decoder | None = None
        self._key_pictures: KeyPictures | None = None
        self._group: deque[tuple[Packet[Any], int]] = deque()
        self._group_bytes = 0

    def take(self, packet: "Packet[Any]", pts_ns: int, captured: Captured, sink: StreamSink, *, video: bool) -> None:
        """The next packet, in the order of decoding."""
        if video:
            self._remember(packet, pts_ns)
            self._decode_picture(packet, pts_ns, captured, sink)
        else:
            self._decode_sound(packet, pts_ns, captured, sink)
        sink.decoding(sink.wants_raw)
        if video and packet.is_keyframe and not sink.wants_raw and (stillness := sink.stillness) is not None:
            if self._key_pictures is None and self._video is not None:
                self._key_pictures = KeyPictures(fresh_decoder(self._video))
            if self._key_pictures is not None:
                self._key_pictures.look(packet, stillness)

    def restart(self) -> None:
        """What comes does not follow on what came."""
        self._pictures = self._sound = None
        self._forget_group()

    def finish(self, sink: StreamSink) -> None:
        """The media has ended: show what is still inside the decoders."""
        for decoder in (self._pictures, self._sound):
            if decoder:
                decoder.finish(sink)

    def _decode_picture(self, packet: "Packet[Any]", pts_ns: int, captured: Captured, sink: StreamSink) -> None:
        if not sink.wants_raw:
            self._pictures = None
            return
        if self._pictures is None:
            # Begin in the middle of a group of pictures: decode what led here, show only what is new.
            self._pictures = Decoder(self._video, None, self._spec)
            for earlier, earlier_pts_ns in self._group:
                if earlier is not packet:
                    self._pictures.decode(earlier, earlier_pts_ns, captured, None, video=True)
        self._pictures.decode(packet, pts_ns, captured, sink, video=True)

    def _decode_sound(self, packet: "Packet[Any]", pts_ns: int, captured: Captured, sink: StreamSink) -> None:
        if not sink.wants_sound:
            self._sound = None
            return
        if self._sound is None:
            self._sound = Decoder(None, self._audio, self._spec)
        self._sound.decode(packet, pts_ns, captured, sink, video=False)

    def _remember(self, packet: "Packet[Any]", pts_ns: int) -> None:
        if packet.is_keyframe:
            self._forget_group()
        elif not self._group:
            return  # no key frame yet, or the group grew too large: wait for the next
        self._group.append((packet, pts_ns))
        self._group_bytes += packet.size
        if len(self._group) > _MAX_GROUP_PACKETS or self._group_bytes > _MAX_GROUP_BYTES:
            self._forget_group()

    def _forget_group(self) -> None:
        self._group.clear()
        self._group_bytes = 0

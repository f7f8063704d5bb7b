"""What a packet tells of itself: whether decoding can begin there, and whether later pictures are made from it.

Sources: ITU-T H.264 7.3.1, 7.3.3 and D.1.8, ITU-T H.265 7.3.1 and Table 7-1, ISO/IEC 14496-2 6.2.5,
AV1 Codec ISO Media File Format Binding 2.3.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

from schemas.errors import BadRequest
from schemas.packets import NalCodec
from services.frame_extractor.engine.av1_frames import Av1Frames
from shared.media.bitstream import extradata_to_annexb, is_annexb, nal_length_bytes, nal_units
from shared.media.sps import sequence_info

# Slices come after parameter sets and messages, which are seldom longer; where they are, the whole packet is read.
_HEAD_BYTES = 1024
_H264_SLICE, _H264_PARTITION, _H264_IDR, _H264_SEI = 1, 2, 5, 6
_RECOVERY_POINT = 6  # payloadType
_I_SLICES = (2, 7)  # slice_type: this slice, or all of the picture
_ALL_I = 7
_HEVC_SLICES, _HEVC_IRAP = range(32), range(16, 24)
_HEVC_SUB_LAYER_NON_REFERENCE = frozenset(range(0, 16, 2))  # TRAIL_N to RSV_VCL_N14
_AV1 = ("av1", "libdav1d")
_AV1_RECORD, _AV1_RECORD_BYTES = b"\x81", 4  # marker and version of an AV1CodecConfigurationRecord
_VOP, _B_VOP = b"\x00\x00\x01\xb6", 2

# Of these every key picture resets the decoder, or all that comes after it in the order of time is made without what
# was before. All pictures of the second line are key pictures.
_TRUSTED = frozenset(
    (
        *("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video", "h263", "flv"),
        *("mjpeg", "prores", "dnxhd", "png", "rawvideo", "ffv1", "huffyuv", "ffvhuff", "utvideo", "jpeg2000", "webp"),
    )
)


class Look(NamedTuple):
    """What one packet says."""

    entry: bool
    """Decoding can begin here: all pictures from this one on, in the order of time, come out as they should."""
    disposable: bool = False
    """No other picture of its layer is made from it."""
    layer: int = 0
    """Temporal; what is disposable in the highest layer is disposable at all."""


class Coding:
    """Reads the packets of one stream."""

    def __init__(self, stream: VideoStream, content: bool = True) -> None:
        """Without `content` packets are known by their flags alone."""
        context = stream.codec_context
        self.codec = context.codec.name
        extradata = bytes(context.extradata or b"")
        self._length_bytes = 0
        self.fields = False
        """A picture may be coded as two fields, in packets of their own."""
        look: Callable[[Packet[VideoStream]], Look] = _by_flag if self.codec in _TRUSTED else _first_only
        if self.codec == "h264" or self.codec == "hevc":
            codec: NalCodec = "hevc" if self.codec == "hevc" else "h264"
            try:
                if extradata and not is_annexb(extradata):
                    self._length_bytes = nal_length_bytes(extradata, codec)
                    extradata = extradata_to_annexb(extradata, codec)
                info = sequence_info(extradata, codec)
                self.fields = codec == "h264" and (info is None or not info.frames_only)
            except BadRequest:  # the packets may be better than what was said of them
                self.fields = True
            if content:
                look = self._hevc if codec == "hevc" else self._h264
        elif self.codec == "mpeg4" and content:
            look = _mpeg4
        elif self.codec in _AV1 and content:
            # Of Matroska and MP4 the record before its OBUs; others have none.
            self._av1 = Av1Frames(extradata[_AV1_RECORD_BYTES:] if extradata[:1] == _AV1_RECORD else extradata)
            look = self._of_av1
        elif self.codec in ("mpeg1video", "mpeg2video"):
            self.fields = True
        self.look = look

    def _units(self, packet: "Packet[VideoStream]", codec: NalCodec) -> Iterator[bytes]:
        """The beginnings of the packet's NAL units."""
        if self._length_bytes:
            view = memoryview(packet)
            position, end, length_bytes = 0, len(view), self._length_bytes
            while position + length_bytes < end:
                start = position + length_bytes
                position = start + int.from_bytes(view[position:start], "big")
                if position > start:
                    yield bytes(view[start : min(position, start + _HEAD_BYTES)])
            return
        data = bytes(memoryview(packet)[:_HEAD_BYTES])
        for nal in nal_units(data, codec):
            if nal.end == len(data) and packet.size > len(data) and nal.type not in (1, 5) and codec == "h264":
                break
            yield data[nal.start : nal.end]
        else:
            if packet.size <= len(data):
                return
        data = bytes(memoryview(packet))
        for nal in nal_units(data, codec):
            yield data[nal.start : min(nal.end, nal.start + _HEAD_BYTES)]

    def _h264(self, packet: "Packet[VideoStream]") -> Look:
        recovery: tuple[int, bool] | None = None
        key = packet.is_keyframe
        for unit in self._units(packet, "h264"):
            kind = unit[0] & 0x1F
            if kind == _H264_IDR:
                return Look(True)
            if kind == _H264_SEI and key:
                recovery = _recovery_point(unit) or recovery
            elif kind == _H264_SLICE:
                return Look(key and _recovers(unit, recovery), disposable=not unit[0] & 0x60)
            elif kind == _H264_PARTITION:
                return Look(False)
        return Look(False)

    def _hevc(self, packet: "Packet[VideoStream]") -> Look:
        for unit in self._units(packet, "hevc"):
            if len(unit) < 2:
                continue
            kind = unit[0] >> 1 & 0x3F
            if kind in _HEVC_SLICES and not (unit[0] & 1 or unit[1] >> 3):  # of the base layer
                return Look(kind in _HEVC_IRAP, kind in _HEVC_SUB_LAYER_NON_REFERENCE, max(0, (unit[1] & 7) - 1))
        return Look(False)

    def _of_av1(self, packet: "Packet[VideoStream]") -> Look:
        return Look(packet.is_keyframe, self._av1.disposable(bytes(memoryview(packet))))


def _by_flag(packet: "Packet[VideoStream]") -> Look:
    return Look(packet.is_keyframe)


def _first_only(packet: "Packet[VideoStream]") -> Look:
    return Look(False)


def _mpeg4(packet: "Packet[VideoStream]") -> Look:
    data = bytes(memoryview(packet)[:_HEAD_BYTES])
    at = data.find(_VOP) + len(_VOP)
    known = len(_VOP) <= at < len(data)
    return Look(packet.is_keyframe, known and data[at] >> 6 == _B_VOP)


def _recovery_point(sei: bytes) -> tuple[int, bool] | None:
    """recovery_frame_cnt and exact_match_flag."""
    position = 1
    while position + 2 < len(sei):
        kind = size = 0
        while position < len(sei) and sei[position] == 0xFF:
            kind, position = kind + 0xFF, position + 1
        if position >= len(sei):
            return None
        kind, position = kind + sei[position], position + 1
        while position < len(sei) and sei[position] == 0xFF:
            size, position = size + 0xFF, position + 1
        if position >= len(sei):
            return None
        size, position = size + sei[position], position + 1
        if kind == _RECOVERY_POINT:
            bits = _bits(sei[position : position + size])
            count, used = _ue(bits, 0)
            return count, bits[used : used + 1] == "1"
        position += size
    return None


def _recovers(slice_: bytes, recovery: tuple[int, bool] | None) -> bool:
    """Whether a key picture that is no IDR is whole, and all that follows it in the order of time too."""
    bits = _bits(slice_[1:12].replace(b"\x00\x00\x03", b"\x00\x00"))
    _, used = _ue(bits, 0)  # first_mb_in_slice
    kind, _ = _ue(bits, used)
    if kind not in _I_SLICES:  # intra refresh: it becomes whole over many pictures
        return False
    if recovery is None:
        return True  # the container's word
    count, exact = recovery
    return count == 0 and (exact or kind == _ALL_I)


def _bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def _ue(bits: str, at: int) -> tuple[int, int]:
    """An Exp-Golomb number and the place after it; a great one where the bits end before."""
    one = bits.find("1", at)
    if one < 0:
        return 1 << 32, len(bits)
    end = 2 * one - at + 1
    return int(bits[one:end], 2) - 1, end

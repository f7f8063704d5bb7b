"""Encoded packets on the bus: a small msgpack header and one access unit in one message.

Layout of a message: 2 bytes big-endian header length, the msgpack header, then the payload to the end.
H.264 and H.265 payloads are Annex B with the parameter sets in band at every IDR picture; AV1 is temporal units with
the sequence header in band at every key picture; VP8, VP9 and MJPEG pictures, Opus packets and AAC frames (without
ADTS) are as the encoder made them.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from schemas.errors import BadRequest
from schemas.frames import AudioHeader, NonNegativeInt
from schemas.ids import Id

VideoCodec = Literal["h264", "hevc", "av1", "vp8", "vp9", "mjpeg"]
NalCodec = Literal["h264", "hevc"]
"""Codecs of NAL units: those with parameter sets."""
Track = Literal["video", "opus", "aac"]

_LENGTH_BYTES = 2

# What msgspec raises for bytes that are not what they should be; for bad UTF-8 it is not its own error.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class PacketHeader(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a consumer must know about one access unit.

    `epoch` and `sequence` are those of the frame it was made from (for a source's own packets: of the capture
    run and the packet). `run` and `index` belong to the producer of the packets: a consumer that sees another
    run, or an index that is not the last one plus one, has lost something and waits for the next key packet.
    """

    stream: Id
    rendition: Id
    track: Track
    codec: Literal["h264", "hevc", "av1", "vp8", "vp9", "mjpeg", "opus", "aac"]
    epoch: NonNegativeInt
    sequence: NonNegativeInt
    run: NonNegativeInt
    index: NonNegativeInt
    key: bool = False
    pts_ns: int
    dts_ns: int
    duration_ns: NonNegativeInt = 0
    captured_ns: int
    encoded_ns: int = 0
    """CLOCK_REALTIME when the packet left its producer."""
    width: NonNegativeInt = 0
    height: NonNegativeInt = 0
    sample_rate: NonNegativeInt = 0
    channels: NonNegativeInt = 0
    reordered: bool = False
    """Pictures are not in display order (B-frames); WebRTC viewers cannot take them."""
    extradata: bytes = b""
    """Codec configuration (Annex B parameter sets, AV1 sequence header, AudioSpecificConfig, OpusHead); on key
    packets. VP8, VP9 and MJPEG have none."""
    part: NonNegativeInt = 0
    parts: NonNegativeInt = 1
    """An access unit larger than the server's payload limit goes in `parts` messages of equal header but `part`."""


_packet_encoder = msgspec.msgpack.Encoder()
_packet_decoder = msgspec.msgpack.Decoder(PacketHeader)
_audio_decoder = msgspec.msgpack.Decoder(AudioHeader)


def pack(header: PacketHeader | AudioHeader, payload: bytes | memoryview) -> bytes:
    """One message of header and payload."""
    encoded = _packet_encoder.encode(header)
    return b"".join((len(encoded).to_bytes(_LENGTH_BYTES, "big"), encoded, payload))


def unpack_packet(message: bytes) -> tuple[PacketHeader, memoryview]:
    """The header and, without a copy, the payload of a packet message.

    Raises:
        BadRequest: the message is cut short or its header is malformed.
    """
    header, payload = _split(message)
    try:
        return _packet_decoder.decode(header), payload
    except UNREADABLE as error:
        raise BadRequest(f"packet header: {error}") from None


def unpack_audio(message: bytes) -> tuple[AudioHeader, memoryview]:
    """The header and, without a copy, the interleaved PCM of an audio message.

    Raises:
        BadRequest: the message is cut short or its header is malformed.
    """
    header, payload = _split(message)
    try:
        return _audio_decoder.decode(header), payload
    except UNREADABLE as error:
        raise BadRequest(f"audio header: {error}") from None


def _split(message: bytes) -> tuple[memoryview, memoryview]:
    view = memoryview(message)
    length = int.from_bytes(view[:_LENGTH_BYTES], "big")
    if len(view) < _LENGTH_BYTES or len(view) < _LENGTH_BYTES + length:
        raise BadRequest(f"message of {len(view)} bytes is shorter than its header of {length} bytes")
    return view[_LENGTH_BYTES : _LENGTH_BYTES + length], view[_LENGTH_BYTES + length :]

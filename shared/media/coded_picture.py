"""What a coded picture tells of itself, whatever its codec: whether decoding can begin there, and its size."""

from schemas.errors import BadRequest
from schemas.packets import VideoCodec
from shared.media.av1 import sequence_header
from shared.media.bitstream import is_key
from shared.media.sps import sequence_info

_VP8_START_CODE = b"\x9d\x01\x2a"  # RFC 6386 section 9.1, in key pictures after three bytes
_VP8_EDGE_MASK = 0x3FFF  # the upper two bits are how the picture shall be scaled
_VP9_SHOWN_AGAIN, _VP9_NOT_KEY = 0x08, 0x04  # show_existing_frame, frame_type; profiles 0 to 2


def is_key_picture(unit: bytes, codec: VideoCodec) -> bool:
    """Whether decoding can begin at this access unit.

    Raises:
        BadRequest: an AV1 unit is cut short.
    """
    if codec == "h264" or codec == "hevc":
        return is_key(unit, codec)
    if codec == "vp8":
        return bool(unit) and not unit[0] & 1
    if codec == "vp9":
        return bool(unit) and not unit[0] & (_VP9_SHOWN_AGAIN | _VP9_NOT_KEY)
    # Encoders send the sequence header with every key picture, and the payload format wants it there.
    return bool(sequence_header(unit)) if codec == "av1" else True


def size_of_key(unit: bytes, codec: VideoCodec) -> tuple[int, int] | None:
    """Width and height in pixels as a key picture's headers say them; None: only a decoder can tell.

    Raises:
        BadRequest: the headers are broken.
    """
    if codec == "h264" or codec == "hevc":
        info = sequence_info(unit, codec)
        return (info.width, info.height) if info else None
    if codec == "vp8":
        if unit[3:6] != _VP8_START_CODE or len(unit) < 10:
            raise BadRequest("VP8 key picture without its start code")
        width, height = (int.from_bytes(unit[at : at + 2], "little") & _VP8_EDGE_MASK for at in (6, 8))
        return width, height
    return None

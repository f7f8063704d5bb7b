"""VP8 (RFC 7741) and VP9 (RFC 9628) in RTP: pieces of a picture, each after a payload descriptor of one byte.

Picture ids are left out: they tell receivers of pictures that a server between leaves out, and ours are all sent.
"""

from collections.abc import Iterator

from shared.rtp.nal import piece_bytes

_DESCRIPTOR_BYTES = 1
_VP8_START, _VP8_GOES_ON = b"\x10", b"\x00"  # S: start of partition 0
_VP9_INTER, _VP9_START, _VP9_END = 0x40, 0x08, 0x04  # P, B, E
# Of an uncompressed header of profiles 0 to 2: show_existing_frame and frame_type; without both it is a key picture.
_VP9_INTER_BITS = 0x08 | 0x04


def packetize_vp8(picture: bytes | memoryview, max_bytes: int, first_room_bytes: int = 0) -> tuple[bytes, ...]:
    """RTP payloads of one picture, each at most `max_bytes`, the first so much shorter; empty for an empty one."""
    return tuple(
        (_VP8_START if first else _VP8_GOES_ON) + piece
        for piece, first, _ in _pieces(bytes(picture), max_bytes, first_room_bytes)
    )


def packetize_vp9(picture: bytes | memoryview, max_bytes: int, first_room_bytes: int = 0) -> tuple[bytes, ...]:
    """RTP payloads of one picture (all of its layers as one), as those of VP8."""
    data = bytes(picture)
    inter = _VP9_INTER if data and data[0] & _VP9_INTER_BITS else 0
    return tuple(
        bytes((inter | (_VP9_START if first else 0) | (_VP9_END if last else 0),)) + piece
        for piece, first, last in _pieces(data, max_bytes, first_room_bytes)
    )


def _pieces(data: bytes, max_bytes: int, first_room_bytes: int) -> Iterator[tuple[bytes, bool, bool]]:
    """Pieces of equal size, what goes before the first one included; of each whether it is the first, and the last."""
    if not data:
        return
    size = piece_bytes(len(data) + first_room_bytes, max_bytes - _DESCRIPTOR_BYTES)
    for start in range(-first_room_bytes, len(data), size):
        yield data[max(start, 0) : start + size], start <= 0, start + size >= len(data)

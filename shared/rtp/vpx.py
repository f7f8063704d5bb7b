"""VP8 (RFC 7741) and VP9 (RFC 9628) in RTP: pieces of a picture, each after a payload descriptor of one byte."""

from shared.rtp.nal import piece_bytes

_VP8_START, _VP8_GOES_ON = b"\x10", b"\x00"  # S: start of partition 0
_VP9_INTER, _VP9_START, _VP9_END = 0x40, 0x08, 0x04  # P, B, E
# Of an uncompressed header of profiles 0 to 2: show_existing_frame and frame_type; without both it is a key picture.
_VP9_INTER_BITS = 0x08 | 0x04


def packetize_vp8(picture: bytes | memoryview, max_bytes: int) -> tuple[bytes, ...]:
    """RTP payloads of one picture, each at most `max_bytes`; empty for an empty one."""
    data = bytes(picture)
    if not data:
        return ()
    size = piece_bytes(len(data), max_bytes - 1)
    return tuple(
        (_VP8_START if start == 0 else _VP8_GOES_ON) + data[start : start + size] for start in range(0, len(data), size)
    )


def packetize_vp9(picture: bytes | memoryview, max_bytes: int) -> tuple[bytes, ...]:
    """RTP payloads of one picture (all of its layers as one), each at most `max_bytes`; empty for an empty one."""
    data = bytes(picture)
    if not data:
        return ()
    inter = _VP9_INTER if data[0] & _VP9_INTER_BITS else 0
    size = piece_bytes(len(data), max_bytes - 1)
    payloads = []
    for start in range(0, len(data), size):
        first = _VP9_START if start == 0 else 0
        last = _VP9_END if start + size >= len(data) else 0
        payloads.append(bytes((inter | first | last,)) + data[start : start + size])
    return tuple(payloads)

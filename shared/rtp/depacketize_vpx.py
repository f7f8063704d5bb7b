"""VP8 (RFC 7741) and VP9 (RFC 9628) out of RTP: payload descriptors off, pieces of the picture together.

Everything here takes bytes from the network: broken input raises BadRequest and nothing else.
"""

from collections.abc import Sequence

from schemas.errors import BadRequest

# VP8, section 4.2.
_EXTENDED, _VP8_START, _PARTITION = 0x80, 0x10, 0x07
_HAS_PICTURE_ID, _HAS_TL0, _HAS_TID, _HAS_KEY_INDEX = 0x80, 0x40, 0x20, 0x10
_LONG_PICTURE_ID = 0x80
# VP9, section 4.2.
_I, _P, _L, _F, _B, _V = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02
_SIZES_Y, _GROUP_G = 0x10, 0x08
_MAX_REFERENCES = 3
_MAX_GROUP_PICTURES = 32  # encoders have eight at most; 255 in each packet of a picture would hold the process up


def depacketize_vp8(payloads: Sequence[bytes]) -> bytes:
    """The picture of payloads without a gap.

    Raises:
        BadRequest: a descriptor is cut short, or the first payload is not the beginning of a picture.
    """
    pieces = []
    for number, payload in enumerate(payloads):
        first = _byte(payload, 0)
        if number == 0 and not (first & _VP8_START and not first & _PARTITION):
            raise BadRequest("VP8 picture without its beginning")
        pieces.append(payload[_vp8_descriptor_bytes(payload) :])
    return _joined(pieces)


def depacketize_vp9(payloads: Sequence[bytes]) -> bytes:
    """The picture of payloads without a gap, all of its spatial layers.

    Raises:
        BadRequest: a descriptor is cut short, or the first payload is not the beginning of a picture.
    """
    pieces = []
    for number, payload in enumerate(payloads):
        if number == 0 and not _byte(payload, 0) & _B:
            raise BadRequest("VP9 picture without its beginning")
        pieces.append(payload[_vp9_descriptor_bytes(payload) :])
    return _joined(pieces)


def _vp8_descriptor_bytes(payload: bytes) -> int:
    if not _byte(payload, 0) & _EXTENDED:
        return 1
    flags, at = _byte(payload, 1), 2
    if flags & _HAS_PICTURE_ID:
        at += 2 if _byte(payload, at) & _LONG_PICTURE_ID else 1
    if flags & _HAS_TL0:
        at += 1
    if flags & (_HAS_TID | _HAS_KEY_INDEX):
        at += 1
    return at


def _vp9_descriptor_bytes(payload: bytes) -> int:
    flags, at = _byte(payload, 0), 1
    if flags & _I:
        at += 2 if _byte(payload, at) & _LONG_PICTURE_ID else 1
    if flags & _L:
        at += 1 if flags & _F else 2  # TL0PICIDX is there in non-flexible mode only
    if flags & _F and flags & _P:
        for _ in range(_MAX_REFERENCES):
            at += 1
            if not _byte(payload, at - 1) & 1:  # N: another one follows
                break
    if flags & _V:
        at = _after_scalability(payload, at)
    return at


def _after_scalability(payload: bytes, at: int) -> int:
    header = _byte(payload, at)
    at += 1
    if header & _SIZES_Y:
        at += 4 * ((header >> 5) + 1)
    if header & _GROUP_G:
        pictures = _byte(payload, at)
        at += 1
        if pictures > _MAX_GROUP_PICTURES:
            raise BadRequest(f"VP9 group of {pictures} pictures; {_MAX_GROUP_PICTURES} are taken")
        for _ in range(pictures):
            at += 1 + (_byte(payload, at) >> 2 & 0x03)
    return at


def _byte(payload: bytes, at: int) -> int:
    if at >= len(payload):
        raise BadRequest("payload descriptor cut short")
    return payload[at]


def _joined(pieces: list[bytes]) -> bytes:
    picture = b"".join(pieces)
    if not picture:
        raise BadRequest("picture without a byte")
    return picture

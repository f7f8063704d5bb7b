"""H.264 (RFC 6184) and H.265 (RFC 7798) out of RTP: the payloads of one access unit become Annex B.

Everything here takes bytes from the network: broken input raises BadRequest and nothing else.
"""

from collections.abc import Iterator, Sequence

from schemas.errors import BadRequest
from shared.media.bitstream import START_CODE

_SHORT_START_CODE = START_CODE[1:]
_H264_LAST_SINGLE, _STAP_A, _FU_A = 23, 24, 28
_HEVC_LAST_SINGLE, _AP, _FU = 47, 48, 49
_FU_START, _FU_END = 0x80, 0x40
_SIZE_BYTES = 2
_MAX_NAL_UNITS = 4096  # ten times what slices of a packet each need at 1080p; a million would hold the process up


def depacketize_h264(payloads: Sequence[bytes]) -> bytes:
    """The access unit of payloads without a gap; packetization-mode 0 or 1.

    Raises:
        BadRequest: a payload is cut short, of an unknown kind, or a fragment has no beginning or no end.
    """
    parts: list[bytes] = []
    fragments: list[bytes] = []
    for payload in payloads:
        if not payload:
            raise BadRequest("empty H.264 payload")
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            if len(payload) < 3:
                raise BadRequest("H.264 fragment cut short")
            header = bytes((payload[0] & 0xE0 | payload[1] & 0x1F,))
            _take_fragment(fragments, parts, payload[1], header, payload[2:])
        elif fragments:
            raise BadRequest("H.264 fragment without its end")
        elif 1 <= kind <= _H264_LAST_SINGLE:
            parts += (START_CODE, payload)
        elif kind == _STAP_A:
            _check_count(len(parts) // 2)
            parts += _separated(payload, 1)
        else:
            raise BadRequest(f"H.264 payload of kind {kind}; packetization-mode 0 and 1 are taken")
    return _whole(fragments, parts)


def depacketize_hevc(payloads: Sequence[bytes]) -> bytes:
    """The access unit of payloads without a gap; without decoding order numbers (sprop-max-don-diff=0).

    Raises:
        BadRequest: as of `depacketize_h264`.
    """
    parts: list[bytes] = []
    fragments: list[bytes] = []
    for payload in payloads:
        if len(payload) < 3:
            raise BadRequest("H.265 payload cut short")
        kind = payload[0] >> 1 & 0x3F
        if kind == _FU:
            if len(payload) < 4:
                raise BadRequest("H.265 fragment cut short")
            header = bytes((payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]))
            _take_fragment(fragments, parts, payload[2], header, payload[3:])
        elif fragments:
            raise BadRequest("H.265 fragment without its end")
        elif kind <= _HEVC_LAST_SINGLE:
            parts += (START_CODE, payload)
        elif kind == _AP:
            _check_count(len(parts) // 2)
            parts += _separated(payload, 2)
        else:
            raise BadRequest(f"H.265 payload of kind {kind}, which is not known")
    return _whole(fragments, parts)


def _take_fragment(fragments: list[bytes], parts: list[bytes], flags: int, header: bytes, piece: bytes) -> None:
    """Collect a fragment; with the last one the unit is whole and goes to `parts`."""
    if bool(flags & _FU_START) == bool(fragments):
        raise BadRequest("fragment of a NAL unit out of its order")
    if not fragments:
        fragments.append(header)
    fragments.append(piece)
    if flags & _FU_END:
        parts += (START_CODE, *fragments)
        fragments.clear()


def _separated(payload: bytes, header_bytes: int) -> Iterator[bytes]:
    """The units of an aggregation packet, with start codes."""
    at = header_bytes
    while at < len(payload):
        start = at + _SIZE_BYTES
        end = start + int.from_bytes(payload[at:start], "big")
        if start > len(payload) or end > len(payload) or end == start:
            raise BadRequest("NAL unit of an aggregation packet cut short")
        yield START_CODE
        yield payload[start:end]
        at = end


def _whole(fragments: list[bytes], parts: list[bytes]) -> bytes:
    if fragments:
        raise BadRequest("fragment of a NAL unit without its end")
    if not parts:
        raise BadRequest("access unit without a NAL unit")
    unit = b"".join(parts)
    _check_count(unit.count(_SHORT_START_CODE))  # those that hide within a unit, where none may be, included
    return unit


def _check_count(nal_units: int) -> None:
    if nal_units > _MAX_NAL_UNITS:
        raise BadRequest(f"access unit of more than {_MAX_NAL_UNITS} NAL units")

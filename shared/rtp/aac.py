"""AAC in RTP: mpeg4-generic, mode AAC-hbr (RFC 3640 section 3.3.6)."""

from shared.rtp.nal import piece_bytes

_HEADERS_BITS = (16).to_bytes(2, "big")  # one AU header of 16 bits: 13 of size, 3 of index
_MAX_FRAME_BYTES = (1 << 13) - 1


def packetize_aac(frame: bytes | memoryview, max_bytes: int) -> tuple[bytes, ...]:
    """RTP payloads of one AAC frame without ADTS: one, or its fragments; empty when it is longer than AAC-hbr tells."""
    data = bytes(frame)
    if not 0 < len(data) <= _MAX_FRAME_BYTES:
        return ()
    header = _HEADERS_BITS + (len(data) << 3).to_bytes(2, "big")  # of fragments, too, the size of the whole
    size = piece_bytes(len(data), max_bytes - len(header))
    return tuple(header + data[start : start + size] for start in range(0, len(data), size))


def aac_parameters(extradata: bytes) -> str:
    """The `fmtp` parameters of an AudioSpecificConfig (RFC 3640 section 4.1)."""
    return (
        "streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; indexlength=3; indexdeltalength=3; "
        f"config={extradata.hex().upper()}"
    )

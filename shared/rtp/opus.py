"""Opus in RTP: one packet in each (RFC 7587)."""

from schemas.errors import BadRequest

OPUS_CLOCK_HZ = 48_000  # RFC 7587 section 4.1

# RFC 6716 section 3.1, table 2: by configuration number.
_FIRST_HYBRID, _FIRST_CELT = 12, 16
_SILK_FRAMES_US = (10_000, 20_000, 40_000, 60_000)
_HYBRID_FRAMES_US = (10_000, 20_000)
_CELT_FRAMES_US = (2_500, 5_000, 10_000, 20_000)
_COUNTED = 3  # code of a packet that says how many frames it has
_MAX_PACKET_US = 120_000


def packetize_opus(packet: bytes | memoryview, max_bytes: int) -> tuple[bytes, ...]:
    """The one RTP payload of an Opus packet; empty when it does not fit (RFC 7587 knows no fragments)."""
    return (bytes(packet),) if 0 < len(packet) <= max_bytes else ()


def opus_duration_ns(packet: bytes) -> int:
    """How much sound is in a packet (RFC 6716 section 3.1).

    Raises:
        BadRequest: it is empty, or says that it holds nothing or more than 120 ms.
    """
    if not packet:
        raise BadRequest("empty Opus packet")
    configuration, code = packet[0] >> 3, packet[0] & 3
    frames = 2 if code else 1
    if code == _COUNTED:
        frames = packet[1] & 0x3F if len(packet) > 1 else 0
    if configuration < _FIRST_HYBRID:
        frame_us = _SILK_FRAMES_US[configuration % 4]
    elif configuration < _FIRST_CELT:
        frame_us = _HYBRID_FRAMES_US[configuration % 2]
    else:
        frame_us = _CELT_FRAMES_US[configuration % 4]
    if not 0 < frames * frame_us <= _MAX_PACKET_US:
        raise BadRequest(f"Opus packet of {frames} frames of {frame_us} us")
    return frames * frame_us * 1000

"""Opus in RTP: one packet in each (RFC 7587)."""

OPUS_CLOCK_HZ = 48_000  # RFC 7587 section 4.1


def packetize_opus(packet: bytes | memoryview, max_bytes: int) -> tuple[bytes, ...]:
    """The one RTP payload of an Opus packet; empty when it does not fit (RFC 7587 knows no fragments)."""
    return (bytes(packet),) if 0 < len(packet) <= max_bytes else ()

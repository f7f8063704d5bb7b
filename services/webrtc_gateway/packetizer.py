"""Access units as RTP payloads that every viewer of a rendition shares."""

from dataclasses import dataclass

from services.webrtc_gateway.srtp import RTP_BYTES

RTP_HEADER_BYTES = 12
MAX_EXTENSION_BYTES = 28  # 4 of header, mid (up to 8 + 1), playout-delay (3 + 1), abs-capture-time (8 + 1), padding
SRTP_TAG_BYTES = 16  # AES-GCM's; HMAC-SHA1's is 10
MAX_PAYLOAD_BYTES = RTP_BYTES - RTP_HEADER_BYTES - MAX_EXTENSION_BYTES - SRTP_TAG_BYTES


@dataclass(slots=True, eq=False)
class RtpUnit:
    """One access unit, packetised; shared by every viewer of the rendition and never changed."""

    number: int
    """Of its first packet, counted since the feed began; every viewer's sequence numbers derive from it."""
    payloads: tuple[bytes, ...]
    timestamp: int
    """In the track's RTP clock, not yet wrapped to 32 bits."""
    key: bool
    captured_ns: int
    arrived_s: float
    """Monotonic time of arrival here."""
    tell_capture_time: bool
    """Carry abs-capture-time in the first packet; part of the unit so that a retransmission is identical."""

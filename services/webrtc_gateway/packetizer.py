"""Access units to RTP payloads, once per rendition: H.264 (RFC 6184, packetization-mode 1) and Opus (RFC 7587)."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.webrtc_gateway.srtp import RTP_BYTES
from shared.media.bitstream import nal_units

RTP_HEADER_BYTES = 12
MAX_EXTENSION_BYTES = 28  # 4 of header, mid (up to 8 + 1), playout-delay (3 + 1), abs-capture-time (8 + 1), padding
SRTP_TAG_BYTES = 16  # AES-GCM's; HMAC-SHA1's is 10
MAX_PAYLOAD_BYTES = RTP_BYTES - RTP_HEADER_BYTES - MAX_EXTENSION_BYTES - SRTP_TAG_BYTES

VIDEO_CLOCK_HZ = 90_000  # RFC 6184 section 8.2.1
OPUS_CLOCK_HZ = 48_000  # RFC 7587 section 4.1

_STAP_A, _FU_A = 24, 28
_FU_START, _FU_END = 0x80, 0x40
# Delimiters, ends and filler mean nothing to a receiver of packets (RFC 6184 section 6.1 lets senders leave them out).
_LEFT_OUT = frozenset({9, 10, 11, 12})
_TYPE_MASK, _NRI_MASK, _F_NRI_MASK = 0x1F, 0x60, 0xE0


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


def packetize_h264(access_unit: bytes | memoryview, max_bytes: int = MAX_PAYLOAD_BYTES) -> tuple[bytes, ...]:
    """RTP payloads of one Annex B access unit, each at most `max_bytes`; empty when there is no NAL unit in it.

    Small neighbours share a STAP-A packet, large units become FU-A fragments of equal size but the last.
    """
    payloads: list[bytes] = []
    group: list[bytes] = []
    group_bytes = 1
    data = bytes(access_unit)
    for kind, start, end in nal_units(data, "h264"):
        if kind in _LEFT_OUT:
            continue
        nal = data[start:end]
        if group and group_bytes + 2 + len(nal) > max_bytes:
            payloads.append(_single_or_stap_a(group))
            group, group_bytes = [], 1
        if len(nal) > max_bytes:
            payloads.extend(_fu_a(nal, max_bytes))
        else:
            group.append(nal)
            group_bytes += 2 + len(nal)
    if group:
        payloads.append(_single_or_stap_a(group))
    return tuple(payloads)


def packetize_opus(packet: bytes | memoryview) -> tuple[bytes, ...]:
    """The one RTP payload of an Opus packet; empty when it does not fit (RFC 7587 knows no fragments)."""
    return (bytes(packet),) if 0 < len(packet) <= MAX_PAYLOAD_BYTES else ()


def _single_or_stap_a(nals: list[bytes]) -> bytes:
    if len(nals) == 1:
        return nals[0]
    forbidden = max(nal[0] & 0x80 for nal in nals)
    importance = max(nal[0] & _NRI_MASK for nal in nals)
    parts = [bytes((forbidden | importance | _STAP_A,))]
    for nal in nals:
        parts += (len(nal).to_bytes(2, "big"), nal)
    return b"".join(parts)


def _fu_a(nal: bytes, max_bytes: int) -> Iterator[bytes]:
    indicator = nal[0] & _F_NRI_MASK | _FU_A
    kind = nal[0] & _TYPE_MASK
    body_bytes = len(nal) - 1
    fragments = -(-body_bytes // (max_bytes - 2))
    size = -(-body_bytes // fragments)  # equal, so that one segmented send can carry a run of them
    for start in range(1, len(nal), size):
        first = _FU_START if start == 1 else 0
        last = _FU_END if start + size >= len(nal) else 0
        yield bytes((indicator, first | last | kind)) + nal[start : start + size]

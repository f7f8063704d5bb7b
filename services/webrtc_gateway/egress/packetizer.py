"""Access units as RTP packets that every viewer of a rendition shares, headers left open."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.webrtc_gateway.transport.srtp import RTP_BYTES
from shared.rtp.clock import ntp_timestamp

# 12, and an extension block in every packet: 4 of its header, the transport-wide number (2 + 1) and one of padding.
# It is there for viewers without such numbers too, so that one picture's packets are of one size for all of them.
RTP_HEADER_BYTES = 20
# How much longer the block of a unit's first packet is, for every viewer: mid (up to 8 + 1), playout-delay (3 + 1),
# abs-capture-time (8 + 1), padding.
MAX_EXTENSION_BYTES = 24
SHORT_EXTENSION_BYTES = 16  # without abs-capture-time
SRTP_TAG_BYTES = 16  # AES-GCM's; HMAC-SHA1's is 10
REPAIR_BYTES = 2  # the number of the packet that is sent again, before its payload (RFC 4588 section 4)
MAX_PAYLOAD_BYTES = RTP_BYTES - RTP_HEADER_BYTES - MAX_EXTENSION_BYTES - SRTP_TAG_BYTES - REPAIR_BYTES


class PacketRun:
    """Neighbours in a unit that are equal in size, but for the last, which may be shorter: one segmented send."""

    def __init__(self, start: int, sizes: Sequence[int], payloads: Sequence[bytes], extension_bytes: int) -> None:
        """`sizes` include the header (by `extension_bytes` longer in the first packet of a unit)."""
        self.start = start
        self.stop = start + len(sizes)
        self.size, self.last_size = sizes[0], sizes[-1]
        self._payloads, self._extension_bytes = payloads, extension_bytes
        self._images: dict[int, memoryview] = {}

    def image(self, tag_bytes: int) -> memoryview:
        """The packets with room for header, extension and SRTP tag; made once, for every viewer with such tags."""
        image = self._images.get(tag_bytes)
        if image is None:
            header, tag = bytes(RTP_HEADER_BYTES), bytes(tag_bytes)
            packets = (tag + header).join(self._payloads)
            image = self._images[tag_bytes] = memoryview(b"".join((header, bytes(self._extension_bytes), packets, tag)))
        return image


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
    extension_bytes: int = field(init=False)
    """How much longer the extension block of the first packet is than that of the others."""
    capture_time: bytes = field(init=False)
    """`captured_ns` as abs-capture-time says it: NTP, 8 bytes."""
    runs: tuple[PacketRun, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.extension_bytes = MAX_EXTENSION_BYTES if self.tell_capture_time else SHORT_EXTENSION_BYTES
        self.capture_time = ntp_timestamp(self.captured_ns).to_bytes(8, "big")
        self.runs = _runs(self.payloads, self.extension_bytes)


def _runs(payloads: Sequence[bytes], extension_bytes: int) -> tuple[PacketRun, ...]:
    sizes = [RTP_HEADER_BYTES + len(payload) for payload in payloads]
    sizes[0] += extension_bytes
    runs: list[PacketRun] = []
    start, end = 0, len(sizes)
    while start < end:
        size, stop = sizes[start], start + 1
        while stop < end and sizes[stop] == size:
            stop += 1
        if stop < end and sizes[stop] < size:
            stop += 1
        extension = 0 if start else extension_bytes
        runs.append(PacketRun(start, sizes[start:stop], payloads[start:stop], extension))
        start = stop
    return tuple(runs)

"""Access units as the RTP packets that all clients of a rendition get: packetised, numbered and framed once."""

import secrets
from collections.abc import Sequence
from struct import Struct

from schemas.packets import PacketHeader, Track
from shared.rtp.clock import RtpClock
from shared.rtp.formats import PAYLOAD_FORMATS

# With UDP and IPv4 headers 1428 bytes: fits Ethernet's 1500 with room for a tunnel.
MAX_RTP_BYTES = 1_400
_RTP_HEADER = Struct("!BBHII")
_MAX_PAYLOAD_BYTES = MAX_RTP_BYTES - _RTP_HEADER.size
_VERSION, _MARKER = 0x80, 0x80
_FIRST_DYNAMIC_TYPE = 96  # RFC 3551 section 6
TRACK_NUMBERS: dict[Track, int] = {"video": 0, "aac": 1, "opus": 2}
# Linux' limits of one segmented send (UDP_MAX_SEGMENTS of older kernels, the largest datagram).
_MAX_RUN_PACKETS = 64
_MAX_RUN_BYTES = 65_000


class RtpUnit:
    """One access unit as RTP packets; the same for every client, and never changed."""

    __slots__ = ("_framed", "_runs", "key", "octets", "packets", "pts_ns", "sequence", "timestamp", "track")

    def __init__(
        self, track: Track, packets: Sequence[bytes], *, key: bool, sequence: int, timestamp: int, pts_ns: int
    ) -> None:
        self.track = track
        self.packets = packets
        self.key = key
        self.sequence = sequence
        """Of its first packet."""
        self.timestamp = timestamp
        self.pts_ns = pts_ns
        self.octets = sum(map(len, packets))
        self._framed: dict[int, bytes] = {}
        self._runs: list[tuple[bytes, int]] | None = None

    def framed(self, channel: int) -> bytes:
        """All packets interleaved for a TCP connection (RFC 2326 section 10.12)."""
        framed = self._framed.get(channel)
        if framed is None:
            parts: list[bytes] = []
            for packet in self.packets:
                parts += (b"$", bytes((channel,)), len(packet).to_bytes(2, "big"), packet)
            framed = self._framed[channel] = b"".join(parts)
        return framed

    @property
    def runs(self) -> list[tuple[bytes, int]]:
        """(bytes, packet size): packets of one size after one another, the last may be shorter, for one send each."""
        if self._runs is None:
            self._runs = _runs(self.packets)
        return self._runs

    def forget_framing(self) -> None:
        """Free what was made for sending; it is made again when need be."""
        self._framed.clear()
        self._runs = None


def _runs(packets: Sequence[bytes]) -> list[tuple[bytes, int]]:
    runs: list[tuple[bytes, int]] = []
    start = 0
    while start < len(packets):
        size = len(packets[start])
        end, total = start + 1, size
        while end < len(packets) and end - start < _MAX_RUN_PACKETS and len(packets[end - 1]) == size:
            if len(packets[end]) > size or total + len(packets[end]) > _MAX_RUN_BYTES:
                break
            total += len(packets[end])
            end += 1
        runs.append((b"".join(packets[start:end]), size))
        start = end
    return runs


class FeedTrack:
    """One track of a rendition as all clients see it: numbering, clock, what SDP tells of it."""

    def __init__(self, header: PacketHeader) -> None:
        """`header`: of a packet that tells the track's codec; one of RTP's payload formats."""
        self.track = header.track
        self.header = header
        self.format = PAYLOAD_FORMATS[header.codec]
        self.clock_hz = self.format.clock_hz or header.sample_rate
        self.payload_type = self.format.static_type or _FIRST_DYNAMIC_TYPE + TRACK_NUMBERS[header.track]
        self.clock = RtpClock(self.clock_hz)
        self.ssrc = secrets.randbelow(0xFFFFFFFF) + 1
        self.timestamp_offset = secrets.randbits(32)
        self.next_sequence = secrets.randbits(15)  # the upper half is left free, as old receivers like it
        self.packets = 0
        self.octets = 0
        """Payload bytes, as sender reports count them."""

    def unit(self, header: PacketHeader, payload: memoryview, *, new_run: bool) -> RtpUnit | None:
        """The next unit; None when nothing in it can be sent.

        Raises:
            BadRequest: the access unit is broken.
        """
        payloads = self.format.packetize(payload, _MAX_PAYLOAD_BYTES)
        if not payloads:
            return None
        # Of presentation: pictures are sent in decoding order, and B pictures' times go back (RFC 6184 section 5.1).
        timestamp = self.clock.timestamp(header.pts_ns, new_run) + self.timestamp_offset & 0xFFFFFFFF
        first, count = self.next_sequence, len(payloads)
        pack = _RTP_HEADER.pack
        kind, marked, ssrc = self.payload_type, self.payload_type | _MARKER, self.ssrc
        packets = [
            pack(_VERSION, marked if index == count - 1 else kind, first + index & 0xFFFF, timestamp, ssrc) + payload
            for index, payload in enumerate(payloads)
        ]
        self.next_sequence = first + count & 0xFFFF
        self.packets += count
        unit = RtpUnit(self.track, packets, key=header.key, sequence=first, timestamp=timestamp, pts_ns=header.pts_ns)
        self.octets += unit.octets - count * _RTP_HEADER.size
        return unit

    def timestamp_at(self, pts_ns: int) -> int:
        return self.clock.at(pts_ns) + self.timestamp_offset & 0xFFFFFFFF

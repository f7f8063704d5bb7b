"""RTP packets in their order become access units: whole as soon as a marker, or the next time, says so."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.errors import BadRequest
from services.webrtc_gateway.ingest.rtp_packet import RtpPacket
from shared.rtp.depacketizers import Depacketizer

_MAX_UNIT_BYTES = 8 << 20  # a key picture of 8K has less; more is somebody who fills our memory
_MAX_UNIT_PACKETS = 16_384


@dataclass(slots=True)
class ReceivedUnit:
    """One access unit."""

    data: bytes
    timestamp: int
    """Of RTP, 32 bits."""
    arrived_ns: int
    """CLOCK_REALTIME when the packet came that completed it."""
    extensions: dict[int, bytes]
    """Header extensions of its first packet."""


class UnitAssembler:
    """The access units of one track. None in its place: one or more are lost."""

    def __init__(self, depacketize: Depacketizer, drops: Counter[str], *, marks_ends: bool) -> None:
        """`drops` takes the counts of units that are none, by reason. `marks_ends`: the marker is on the last packet
        of a unit; False: each packet is one."""
        self._depacketize, self._drops, self._marks_ends = depacketize, drops, marks_ends
        self._packets: list[RtpPacket] = []
        self._bytes = 0
        self._broken = False
        """There is a gap, and the unit behind it may lack its beginning."""
        self._broken_timestamp: int | None = None

    def push(self, packet: RtpPacket | None) -> Iterator[ReceivedUnit | None]:
        """The next packet in order; None: there is a gap before the next."""
        if packet is None:
            self._forget()
            self._broken, self._broken_timestamp = True, None
            yield None
            return
        if not packet.payload:  # a probe for bandwidth
            return
        if self._packets and packet.timestamp != self._packets[0].timestamp:
            yield from self._finish()
        if self._broken and not self._is_behind_gap(packet):
            return
        self._packets.append(packet)
        self._bytes += len(packet.payload)
        if packet.marker or not self._marks_ends:
            yield from self._finish()
        elif self._bytes > _MAX_UNIT_BYTES or len(self._packets) > _MAX_UNIT_PACKETS:
            self._drops["too_large"] += 1
            self._forget()
            self._broken, self._broken_timestamp = True, packet.timestamp
            yield None

    def _is_behind_gap(self, packet: RtpPacket) -> bool:
        """Whether a packet after a gap is of a unit that is whole: the first unit may lack its beginning, the next not.

        What is left of a unit looks like any other, so it is passed over up to its marker, or to the next time.
        """
        if not self._marks_ends or self._broken_timestamp not in (None, packet.timestamp):
            self._broken, self._broken_timestamp = False, None
            return True
        self._broken_timestamp = packet.timestamp
        if packet.marker:
            self._broken, self._broken_timestamp = False, None
        return False

    def _finish(self) -> Iterator[ReceivedUnit | None]:
        packets, self._packets, self._bytes = self._packets, [], 0
        try:
            data = self._depacketize([packet.payload for packet in packets])
        except BadRequest:
            self._drops["malformed"] += 1
            yield None
            return
        first = packets[0]
        yield ReceivedUnit(data, first.timestamp, packets[-1].arrived_ns, first.extensions)

    def _forget(self) -> None:
        self._packets.clear()
        self._bytes = 0

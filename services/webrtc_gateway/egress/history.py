"""The last packets of a rendition's track, for retransmission, and where its producer's count stands."""

from schemas.packets import PacketHeader
from services.webrtc_gateway.egress.packetizer import RTP_HEADER_BYTES, RtpUnit
from shared.rtp.clock import RtpClock

HISTORY_PACKETS = 1024  # per track, for retransmission: 2 s at 4 Mbit/s, and SRTP's replay window
# abs-capture-time goes with every picture: interpolation by receivers is tens of ms wrong for the first second.
CAPTURE_TIME_SECONDS = 1.0  # for sound, whose receivers may interpolate
_BITRATE_SECONDS = 0.5


class TrackHistory:
    """The last packets of one track, its clock, and where its producer's count stands."""

    def __init__(self, rate_hz: int) -> None:
        self.clock = RtpClock(rate_hz)
        self.next_number = 0
        self._ring: list[RtpUnit | None] = [None] * HISTORY_PACKETS
        self._last: tuple[int, int] | None = None
        self._capture_time_told_s = 0.0

    @property
    def run(self) -> int | None:
        """The producer's run that the last packet was of."""
        return None if self._last is None else self._last[0]

    def follows(self, header: PacketHeader) -> bool:
        """Note the packet; False when something is missing before it, or the producer is another one."""
        last, self._last = self._last, (header.run, header.index)
        return last is None or self._last == (last[0], last[1] + 1)

    def is_repeat(self, header: PacketHeader) -> bool:
        """Already seen: the packet came once from the cache and once live."""
        return self._last is not None and header.run == self._last[0] and header.index <= self._last[1]

    def append(self, header: PacketHeader, payloads: tuple[bytes, ...], now_s: float, *, new_run: bool) -> RtpUnit:
        due = header.track == "video" or now_s - self._capture_time_told_s >= CAPTURE_TIME_SECONDS
        if due:
            self._capture_time_told_s = now_s
        unit = RtpUnit(
            number=self.next_number,
            payloads=payloads,
            timestamp=self.clock.timestamp(header.pts_ns, new_run),
            key=header.key,
            captured_ns=header.captured_ns,
            arrived_s=now_s,
            tell_capture_time=due,
        )
        for number in range(unit.number, unit.number + len(payloads)):
            self._ring[number % HISTORY_PACKETS] = unit
        self.next_number += len(payloads)
        return unit

    @property
    def bitrate_bps(self) -> int:
        """Of the packets that are remembered, headers included; 0: they are of too short a time."""
        units = {id(unit): unit for unit in self._ring if unit is not None}.values()
        first, last = (pick((unit.arrived_s for unit in units), default=0.0) for pick in (min, max))
        if last - first < _BITRATE_SECONDS:
            return 0
        size = sum(sum(map(len, unit.payloads)) + RTP_HEADER_BYTES * len(unit.payloads) for unit in units)
        return int(size * 8 / (last - first))

    def find(self, number: int) -> tuple[RtpUnit, int] | None:
        """The unit that holds packet `number` and the packet's place in it, while it is remembered."""
        if number < self.next_number - HISTORY_PACKETS:
            return None
        unit = self._ring[number % HISTORY_PACKETS]
        if unit is None or not 0 <= number - unit.number < len(unit.payloads):
            return None
        return unit, number - unit.number

"""How well a track is received, for receiver reports (RFC 3550 section 6.4.1, appendix A.8)."""

from aiortc.rtp import RtcpReceiverInfo

from schemas.units import NS_PER_SECOND

_SHORT_NTP_SHIFT = 16  # 64-bit NTP time to its middle 32 bits
_SHORT_NTP_HZ = 65_536
_MAX_LOST = (1 << 23) - 1
_JITTER_SHARE = 16  # of one distance in the mean


class Reception:
    """Jitter, loss and the sender's last report of one SSRC."""

    def __init__(self, clock_hz: int) -> None:
        self._clock_hz = clock_hz
        self._transit: int | None = None
        self._jitter = 0.0
        self._report: tuple[int, int] | None = None
        """Middle of the NTP time of the last sender report, and when it came."""
        self._received_before = self._lost_before = 0

    def arrived(self, timestamp: int, arrived_ns: int) -> None:
        """A packet came for the first time."""
        transit = (arrived_ns * self._clock_hz // NS_PER_SECOND - timestamp) & 0xFFFFFFFF
        if self._transit is not None:
            distance = (transit - self._transit) & 0xFFFFFFFF
            distance = min(distance, (1 << 32) - distance)
            self._jitter += (distance - self._jitter) / _JITTER_SHARE
        self._transit = transit

    def reported(self, ntp: int, arrived_ns: int) -> None:
        self._report = (ntp >> _SHORT_NTP_SHIFT & 0xFFFFFFFF, arrived_ns)

    def block(self, ssrc: int, highest: int, received: int, lost: int, now_ns: int) -> RtcpReceiverInfo:
        """The report block; `received` and `lost` are counted since the beginning."""
        came, went = received - self._received_before, lost - self._lost_before
        self._received_before, self._lost_before = received, lost
        last, delay = 0, 0
        if self._report is not None:
            last, arrived_ns = self._report
            delay = min(max(0, now_ns - arrived_ns) * _SHORT_NTP_HZ // NS_PER_SECOND, 0xFFFFFFFF)
        return RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=min(255, went * 256 // (came + went)) if went > 0 else 0,
            packets_lost=min(lost, _MAX_LOST),
            highest_sequence=highest,
            jitter=min(int(self._jitter), 0xFFFFFFFF),
            lsr=last,
            dlsr=delay,
        )

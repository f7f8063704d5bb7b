"""Times of RTP: 90 kHz and sample clocks, and the NTP time that ties them to the wall (RFC 3550 section 6.4.1)."""

from schemas.units import NS_PER_SECOND

VIDEO_CLOCK_HZ = 90_000  # of every video payload format here
NTP_EPOCH_OFFSET_SECONDS = 2_208_988_800  # 1900 to 1970


def ntp_timestamp(realtime_ns: int) -> int:
    """64-bit NTP time, 32.32 fixed point (RFC 5905 section 6)."""
    seconds, fraction_ns = divmod(realtime_ns, NS_PER_SECOND)
    return ((seconds + NTP_EPOCH_OFFSET_SECONDS) << 32 | (fraction_ns << 32) // NS_PER_SECOND) & 0xFFFFFFFFFFFFFFFF


class RtpClock:
    """Presentation times of one track to RTP timestamps that never run backwards when the producer restarts."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._shift_ns = 0
        self._last_pts_ns: int | None = None

    def timestamp(self, pts_ns: int, new_run: bool) -> int:
        """Unwrapped timestamp of `pts_ns` (CLOCK_REALTIME timeline)."""
        if new_run and self._last_pts_ns is not None and pts_ns <= self._last_pts_ns:
            self._shift_ns += self._last_pts_ns - pts_ns + NS_PER_SECOND // self._rate_hz * 2
        self._last_pts_ns = pts_ns
        return self.at(pts_ns)

    def at(self, pts_ns: int) -> int:
        """The timestamp that a picture or sound of that time has."""
        return (pts_ns + self._shift_ns) * self._rate_hz // NS_PER_SECOND

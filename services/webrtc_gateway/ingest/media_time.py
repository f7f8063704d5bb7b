"""When a publisher's pictures and sound were taken: RTP time, by way of the publisher's clock, to ours.

The publisher's sender reports (RFC 3550 section 6.4.1) and abs-capture-time tie each track to its own clock. Where that
agrees with ours it is believed; where it does not, the quickest way that something took is taken for no way at all.
"""

from schemas.units import NS_PER_SECOND
from shared.rtp.clock import NTP_EPOCH_OFFSET_SECONDS

_WRAP = 1 << 32
# Clocks set by NTP are off by milliseconds; a picture needs less than a second from camera to gateway.
_AHEAD_NS, _SOON_NS = -20_000_000, 1_000_000_000
_STEP_NS = 500_000_000  # a mistake as large as this is put right at once
_FAR_NS = 10_000_000_000  # nothing is under way for so long: a count or a clock has jumped
# Smaller ones by so much of the time that passes: nobody hears sound that is 2 % slower, nor sees pictures hurry.
SOUND_SLEW, PICTURE_SLEW = 0.02, 0.5
_DRIFT_NS_PER_S = 100_000  # how fast two clocks part at most (100 ppm), so how fast the quickest way may grow


def ntp_to_ns(ntp: int) -> int:
    """Nanoseconds since 1970 of a 64-bit NTP time, of which 0 means that the sender has no clock."""
    return ((ntp >> 32) - NTP_EPOCH_OFFSET_SECONDS) * NS_PER_SECOND + ((ntp & 0xFFFFFFFF) * NS_PER_SECOND >> 32)


class PublisherClock:
    """The publisher's clock and ours; one for all of its tracks, so that they stay together."""

    def __init__(self) -> None:
        self.offset_ns: int | None = None
        """To add to the publisher's time; None while nothing of it is known."""
        self._quickest_ns = 0
        self._noted_ns = 0

    def note(self, sender_ns: int, arrived_ns: int) -> None:
        """Something of `sender_ns` has come."""
        age_ns = arrived_ns - sender_ns
        if self.offset_ns is None or age_ns - self._quickest_ns > _FAR_NS:  # the first, or a clock was set
            self._quickest_ns = age_ns
        else:
            grown_ns = max(0, arrived_ns - self._noted_ns) * _DRIFT_NS_PER_S // NS_PER_SECOND
            self._quickest_ns = min(age_ns, self._quickest_ns + grown_ns)
        self._noted_ns = arrived_ns
        agrees = _AHEAD_NS <= self._quickest_ns <= _SOON_NS
        self.offset_ns = 0 if agrees else self._quickest_ns


class TrackTime:
    """Times of one track. Before its first report, they are those of arrival."""

    def __init__(self, rate_hz: int, clock: PublisherClock, slew: float) -> None:
        self._rate_hz, self._clock, self._slew = rate_hz, clock, slew
        self._last = 0
        """The newest timestamp, unwrapped."""
        self._begun = False
        self._anchor: tuple[int, int] = (0, 0)
        """An unwrapped timestamp and its time: the publisher's where `_reported`, else ours."""
        self._reported = False
        self._shown: tuple[int, int] | None = None
        """The last unit's unwrapped timestamp, and the presentation time that it got."""

    def begin_anew(self) -> None:
        """Another sender goes on in the place of the first: its count has nothing to do with the one before."""
        self._begun = self._reported = False
        self._shown = None

    def report(self, timestamp: int, sender_ns: int, arrived_ns: int) -> None:
        """The publisher says that the track's clock shows `timestamp` at `sender_ns` of its own time."""
        self._clock.note(sender_ns, arrived_ns)
        self._anchor, self._reported = (self._unwrap(timestamp), sender_ns), True

    def place(self, timestamp: int, arrived_ns: int) -> tuple[int, int]:
        """When a unit was captured and when it shall be shown, CLOCK_REALTIME in nanoseconds.

        The first is the best that is known; the second runs on smoothly and differs from it by what is not yet put
        right.
        """
        number = self._unwrap(timestamp)
        self._last = max(self._last, number)
        if not self._begun:
            self._begun = True
            if not self._reported:
                self._anchor = (number, arrived_ns)
        captured_ns = self._captured(number)
        held_up = not self._reported and captured_ns > arrived_ns  # what came first had been so longer than this
        if held_up or abs(captured_ns - arrived_ns) > _FAR_NS:  # the count has jumped, or a report lies
            self._anchor, self._reported = (number, arrived_ns), False
            captured_ns = arrived_ns
        pts_ns = captured_ns
        if self._shown is not None:
            before, before_ns = self._shown
            media_ns = (number - before) * NS_PER_SECOND // self._rate_hz
            wrong_ns = captured_ns - (before_ns + media_ns)
            if abs(wrong_ns) < _STEP_NS:
                most_ns = int(abs(media_ns) * self._slew)
                pts_ns = before_ns + media_ns + max(-most_ns, min(most_ns, wrong_ns))
        self._shown = (number, pts_ns)
        return min(captured_ns, arrived_ns), pts_ns

    def _captured(self, number: int) -> int:
        anchor, anchor_ns = self._anchor
        time_ns = anchor_ns + (number - anchor) * NS_PER_SECOND // self._rate_hz
        return time_ns + (self._clock.offset_ns or 0) if self._reported else time_ns

    def _unwrap(self, timestamp: int) -> int:
        if not self._begun:
            self._last = timestamp
        return self._last + (timestamp - self._last + _WRAP // 2) % _WRAP - _WRAP // 2

"""What is known of one viewer's line: from its reports (RFC 3550), its estimates (REMB) and what we send."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from services.webrtc_gateway.congestion.arrivals import Arrivals
from services.webrtc_gateway.congestion.bandwidth import Bandwidth
from services.webrtc_gateway.egress.rtcp import ReceptionReport

Sign = Literal["", "loss", "delay"]
"""Why a line looks too thin; empty: it does not."""

# Less than a tenth is what radio links lose at any rate; more is a queue that overflows. Google's congestion control
# (draft-ietf-rmcat-gcc-02 section 6) draws the line there too, and raises below 2 %.
LOSS_THIN = 0.10
LOSS_CALM = 0.02
DELAY_THIN_SECONDS = 0.4  # on top of the line's own: a queue that fills, and pictures nobody can talk over
DELAY_CALM_SECONDS = 0.1
# Where the viewer's own estimate (REMB) has fallen, less delay is enough of a sign. Its value says little, as it has
# only RTP times to go by: on lines without any limit Chromium was seen to estimate 0.1 to 0.5 of what came. But it
# falls by half within seconds only where delay grows there.
_DELAY_THIN_ESTIMATE_SECONDS = 0.2
_ESTIMATE_FELL = 0.6  # of the most of the last seconds
_ESTIMATE_MEMORY_SECONDS = 8.0
_MAX_ESTIMATES = 64
_ESTIMATE_FRESH_SECONDS = 5.0  # Chromium sends one a second
_WINDOW_PACKETS = 30  # fewer say little about a tenth
_WINDOW_SECONDS = 2.0  # of a picture of so few packets
_MAX_EXPECTED_PACKETS = 1 << 16  # more between two reports is not a count but a lie
_MAX_RTTS = 64  # of one window
_FLOOR_RISE_SECONDS = 0.01  # per window: a route that became longer is not a queue for ever


@dataclass(slots=True)
class Line:
    """State of one line; bit/s, seconds (monotonic), parts of 1."""

    bandwidth: Bandwidth | None = None
    """What transport-wide feedback tells; None: the viewer has not offered it, and reports must do."""
    measured: bool = False
    """By such feedback, which still comes: then reports say nothing more."""
    on_judged: Callable[[], None] = lambda: None
    """Called with each window of such feedback."""
    bitrate_bps: int = 0
    """Sent during the last second."""
    fraction_lost: float = 0.0
    """Of the last window."""
    windows: int = 0
    """How often that was judged anew: once a second, or as soon as enough packets are reported on."""
    _lost: float = 0.0
    _expected: int = 0
    _highest: int | None = None
    _rtts_s: list[float] = field(default_factory=list)
    _window_s: float = 0.0
    _rtt_s: float | None = None
    _rtt_before_s: float | None = None
    _floor_s: float | None = None
    _estimate_bps: int | None = None
    _estimates: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MAX_ESTIMATES))
    _estimated_s: float = float("-inf")
    _bytes_before: int = 0
    _ticked_s: float | None = None

    def reported(self, report: ReceptionReport, rtt_s: float | None) -> None:
        """Take what the viewer says of its pictures; with every NACK it reports on the few packets since the last."""
        expected = 0 if self._highest is None else report.highest_sequence - self._highest
        self._highest = report.highest_sequence
        if 0 < expected <= _MAX_EXPECTED_PACKETS:
            self._expected += expected
            self._lost += report.fraction_lost * expected
        if rtt_s is not None and len(self._rtts_s) < _MAX_RTTS:
            self._rtts_s.append(rtt_s)

    def estimated(self, estimate_bps: int, now_s: float) -> None:
        self._estimate_bps, self._estimated_s = estimate_bps, now_s
        self._estimates.append((now_s, estimate_bps))
        while now_s - self._estimates[0][0] > _ESTIMATE_MEMORY_SECONDS:
            self._estimates.popleft()

    def arrived(self, arrivals: Arrivals, now_s: float) -> bool:
        """Take transport-wide feedback. Whether it is about packets that are known."""
        bandwidth = self.bandwidth
        if bandwidth is None:
            return False
        windows = bandwidth.windows
        known = bandwidth.take(arrivals, now_s)
        if bandwidth.windows != windows:
            self.measured = True
            self.fraction_lost = bandwidth.fraction_lost
            self.windows += 1
            self.on_judged()
        return known

    def moved(self) -> None:
        """Another rendition is sent from now on."""
        if self.bandwidth is not None:
            self.bandwidth.begin_anew()

    def tick(self, total_bytes: int, now_s: float) -> None:
        """Once a second: how much was sent so far; and judge what was reported since."""
        self.measured = self.bandwidth is not None and self.bandwidth.is_fresh(now_s)
        if not self.measured:
            self._judge(now_s)
        if self._ticked_s is not None and now_s > self._ticked_s:
            self.bitrate_bps = int((total_bytes - self._bytes_before) * 8 / (now_s - self._ticked_s))
        self._bytes_before, self._ticked_s = total_bytes, now_s

    def _judge(self, now_s: float) -> None:
        enough = self._expected >= _WINDOW_PACKETS or now_s - self._window_s >= _WINDOW_SECONDS
        if not self._expected or not enough:
            return
        self.fraction_lost = self._lost / self._expected
        if self._rtts_s:
            self._rtt_before_s = self._rtt_s
            rtt_s = self._rtt_s = fmean(self._rtts_s)
            self._floor_s = rtt_s if self._floor_s is None else min(rtt_s, self._floor_s + _FLOOR_RISE_SECONDS)
        self._lost, self._expected, self._window_s = 0.0, 0, now_s
        self._rtts_s.clear()
        self.windows += 1

    def estimate_bps(self, now_s: float) -> int | None:
        """What the line carries, as measured; else what the viewer lately said of it, which is often far too little."""
        if self.measured and self.bandwidth is not None:
            return self.bandwidth.estimate_bps
        return self._estimate_bps if now_s - self._estimated_s <= _ESTIMATE_FRESH_SECONDS else None

    @property
    def queueing_s(self) -> float:
        """How much longer a round trip takes now than on the line when it is empty."""
        return 0.0 if self._rtt_s is None or self._floor_s is None else self._rtt_s - self._floor_s

    @property
    def sign(self) -> Sign:
        """Whether the line looks too thin for what is sent."""
        if self.measured and self.bandwidth is not None:
            return "delay" if self.bandwidth.growing else "loss" if self.bandwidth.lossy else ""
        if self.fraction_lost > LOSS_THIN:
            return "loss"
        thin_s = _DELAY_THIN_ESTIMATE_SECONDS if self._estimate_fell else DELAY_THIN_SECONDS
        return "delay" if self.queueing_s > thin_s and not self._emptying else ""

    @property
    def overflows(self) -> bool:
        """A queue is known to be full: of what is sent, some is lost there."""
        return self.measured and self.bandwidth is not None and self.bandwidth.lossy and self.bandwidth.growing

    @property
    def _estimate_fell(self) -> bool:
        """The viewer takes the line for a good deal thinner than it did some seconds ago."""
        most_bps = max((estimate for _, estimate in self._estimates), default=0)
        return bool(self._estimates) and self._estimates[-1][1] < _ESTIMATE_FELL * most_bps

    @property
    def rtt_s(self) -> float:
        """Of the last window; 0 where it is not known."""
        return self._rtt_s or 0.0

    @property
    def _emptying(self) -> bool:
        """The queue is long but grows shorter: what is sent now is not too much."""
        return self._rtt_s is not None and self._rtt_before_s is not None and self._rtt_s < self._rtt_before_s

    @property
    def calm(self) -> bool:
        """Nothing speaks against sending more."""
        if self.measured and self.bandwidth is not None:
            return self.bandwidth.calm
        return self.fraction_lost <= LOSS_CALM and self.queueing_s <= DELAY_CALM_SECONDS

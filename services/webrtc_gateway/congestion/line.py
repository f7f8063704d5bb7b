"""What is known of one viewer's line: from its reports (RFC 3550), its estimates (REMB) and what we send."""

from dataclasses import dataclass
from typing import Literal

Sign = Literal["", "loss", "delay", "estimate"]
"""Why a line looks too thin; empty: it does not."""

# Less than a tenth is what radio links lose at any rate; more is a queue that overflows. Google's congestion control
# (draft-ietf-rmcat-gcc-02 section 6) draws the line there too, and raises below 2 %.
LOSS_THIN = 0.10
LOSS_CALM = 0.02
DELAY_THIN_SECONDS = 0.4  # on top of the line's own: a queue that fills, and pictures nobody can talk over
DELAY_CALM_SECONDS = 0.1
# A receiver estimates 0.85 of what arrives when its queue grows; three quarters of what is sent is thus plainly less.
# Alone it says little: it also lags for seconds behind a picture that begins to move.
ESTIMATE_THIN = 0.75
_ESTIMATE_FRESH_SECONDS = 5.0  # Chromium sends one a second
_FLOOR_RISE_SECONDS = 0.01  # per report: a route that became longer is not a queue for ever


@dataclass(slots=True)
class Line:
    """State of one line; bit/s, seconds (monotonic), parts of 1."""

    bitrate_bps: int = 0
    """Sent during the last second."""
    fraction_lost: float = 0.0
    reports: int = 0
    """So far."""
    _rtt_s: float | None = None
    _floor_s: float | None = None
    _estimate_bps: int | None = None
    _estimated_s: float = float("-inf")
    _bytes_before: int = 0
    _ticked_s: float | None = None

    def reported(self, fraction_lost: float, rtt_s: float | None) -> None:
        """Take what the viewer says of its pictures."""
        self.reports += 1
        self.fraction_lost = fraction_lost
        if rtt_s is not None:
            self._rtt_s = rtt_s
            self._floor_s = rtt_s if self._floor_s is None else min(rtt_s, self._floor_s + _FLOOR_RISE_SECONDS)

    def estimated(self, estimate_bps: int, now_s: float) -> None:
        self._estimate_bps, self._estimated_s = estimate_bps, now_s

    def sent(self, total_bytes: int, now_s: float) -> None:
        """Once a second: how much was sent so far."""
        if self._ticked_s is not None and now_s > self._ticked_s:
            self.bitrate_bps = int((total_bytes - self._bytes_before) * 8 / (now_s - self._ticked_s))
        self._bytes_before, self._ticked_s = total_bytes, now_s

    def estimate_bps(self, now_s: float) -> int | None:
        """What the viewer lately said its line carries."""
        return self._estimate_bps if now_s - self._estimated_s <= _ESTIMATE_FRESH_SECONDS else None

    @property
    def queueing_s(self) -> float:
        """How much longer a round trip takes now than on the line when it is empty."""
        return 0.0 if self._rtt_s is None or self._floor_s is None else self._rtt_s - self._floor_s

    def sign(self, now_s: float) -> Sign:
        """Whether the line looks too thin for what is sent."""
        if self.fraction_lost > LOSS_THIN:
            return "loss"
        if self.queueing_s > DELAY_THIN_SECONDS:
            return "delay"
        estimate_bps = self.estimate_bps(now_s)
        low = estimate_bps is not None and estimate_bps < ESTIMATE_THIN * self.bitrate_bps
        return "estimate" if low and not self.calm else ""

    @property
    def calm(self) -> bool:
        """Nothing speaks against sending more."""
        return self.fraction_lost <= LOSS_CALM and self.queueing_s <= DELAY_CALM_SECONDS

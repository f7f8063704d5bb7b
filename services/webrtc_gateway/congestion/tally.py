"""What one track of one viewer was asked for and told about: for its statistics, and for what its line carries."""

from dataclasses import dataclass

from services.webrtc_gateway.egress.rtcp import Feedback, ReceptionReport


@dataclass(slots=True)
class TrackTally:
    """Sums since the session began."""

    frames: int = 0
    keys: int = 0
    nacks: int = 0
    plis: int = 0
    firs: int = 0
    retransmitted: int = 0
    reports: int = 0
    report: ReceptionReport | None = None
    """The newest."""
    reported_ns: int = 0
    """CLOCK_REALTIME of its arrival."""
    rtt_s: float | None = None
    rtt_sum_s: float = 0.0
    rtt_count: int = 0

    def sent(self, key: bool) -> None:
        """A whole access unit was sent."""
        self.frames += 1
        self.keys += key

    def take(self, feedback: Feedback, now_ns: int) -> None:
        """Note what one datagram says, at `now_ns` of CLOCK_REALTIME."""
        self.nacks += feedback.nacks
        self.plis += feedback.plis
        self.firs += feedback.firs
        if feedback.report is None:
            return
        self.reports += 1
        self.report, self.reported_ns = feedback.report, now_ns
        rtt_s = feedback.report.rtt_s(now_ns)
        if rtt_s is not None:
            self.rtt_s = rtt_s
            self.rtt_sum_s += rtt_s
            self.rtt_count += 1

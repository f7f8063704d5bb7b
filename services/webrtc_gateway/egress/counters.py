"""What the gateway counts, as plain integers for the metrics to read."""

from collections import Counter
from dataclasses import dataclass, field

from shared.metrics import Distribution

# From a wire in the same rack to a satellite; from the odd packet to a line that is of no use.
_RTT_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_LOSS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(slots=True)
class EgressCounters:
    """Sums over every session of this process, past ones included."""

    packets: int = 0
    """RTP packets sent, retransmissions included."""
    bytes: int = 0
    """Bytes of those, as UDP payload."""
    units: int = 0
    """Access units packetised, once per rendition."""
    nacks: int = 0
    """Packets that viewers asked for again."""
    retransmitted: int = 0
    probes: int = 0
    """Packets sent again that nobody asked for, to learn whether a line carries more."""
    plis: int = 0
    """Key frames that viewers asked for (PLI and FIR)."""
    plis_withheld: int = 0
    """Of those, not passed on: the viewer asks for one after the other, and the others' pictures pay for each."""
    sessions_opened: int = 0
    sessions_connected: int = 0
    substituted: int = 0
    """Viewers that got another rendition in place of what they asked for and could not take."""
    fanout_cpu_ns: int = 0
    """CPU spent packetising, protecting and sending; with `packets`, the cost of one."""
    drops: Counter[str] = field(default_factory=Counter)
    """Access units or packets not sent, by reason."""
    closed: Counter[str] = field(default_factory=Counter)
    """Sessions ended, by reason."""
    console_dropped: Counter[str] = field(default_factory=Counter)
    """Messages that consoles did not get, by reason: `status_behind` and `event_behind`, the oldest of a full queue
    (a later status makes up for an earlier one); `console_closed`, the page took nothing at all."""
    rtt_seconds: Distribution = field(default_factory=lambda: Distribution(_RTT_SECONDS))
    """Round trips, one for each reception report."""
    fraction_lost: Distribution = field(default_factory=lambda: Distribution(_LOSS))
    """0 to 1, likewise."""
    moved_down: Counter[str] = field(default_factory=Counter)
    """Viewers given a smaller rendition, or only key pictures, by the sign that their line is too thin."""
    moved_up: int = 0
    not_moved: Counter[str] = field(default_factory=Counter)
    """Such moves that could not be made, by reason."""

    def reported(self, fraction_lost: float, rtt_s: float | None) -> None:
        """A viewer has told how a track arrives."""
        self.fraction_lost.observe(fraction_lost)
        if rtt_s is not None:
            self.rtt_seconds.observe(rtt_s)

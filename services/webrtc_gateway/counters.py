"""What the gateway counts, as plain integers for the metrics to read."""

from collections import Counter
from dataclasses import dataclass, field


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
    plis: int = 0
    """Key frames that viewers asked for (PLI and FIR)."""
    key_requests: int = 0
    """Key frames asked of producers, after the limit on how often."""
    sessions_opened: int = 0
    sessions_connected: int = 0
    substituted: int = 0
    """Viewers that got `main` in place of what they asked for and could not take."""
    fanout_cpu_ns: int = 0
    """CPU spent packetising, protecting and sending; with `packets`, the cost of one."""
    drops: Counter[str] = field(default_factory=Counter)
    """Access units or packets not sent, by reason."""
    closed: Counter[str] = field(default_factory=Counter)
    """Sessions ended, by reason."""
    console_dropped: Counter[str] = field(default_factory=Counter)
    """Messages that consoles did not get, by reason: `status_behind` and `event_behind`, the oldest of a full queue
    (a later status makes up for an earlier one); `console_closed`, the page took nothing at all."""

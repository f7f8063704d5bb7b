"""What the receiving side counts, as plain integers for the metrics to read."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class IngestCounters:
    """Sums over every publisher of this process, past ones included."""

    packets: int = 0
    """RTP packets received, retransmissions included."""
    bytes: int = 0
    units: int = 0
    """Access units sent on."""
    nacked: int = 0
    """Packets asked for again."""
    lost: int = 0
    """Packets that did not come in time either."""
    plis: int = 0
    """Key pictures asked of publishers."""
    publishers_opened: int = 0
    publishers_connected: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    """Packets and access units that were left out, by reason."""
    closed: Counter[str] = field(default_factory=Counter)
    """Publishers gone, by reason."""

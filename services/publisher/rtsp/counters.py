"""What the RTSP server counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class RtspCounters:
    """Plain integers of the hot path; the metrics read them."""

    clients: Counter[str] = field(default_factory=Counter)
    """That play now, by transport."""
    packets: Counter[str] = field(default_factory=Counter)
    """RTP packets sent, by transport."""
    bytes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    """Packets not sent to a client, or not sent at all, by reason."""
    refused: Counter[int] = field(default_factory=Counter)
    """Requests refused, by status."""

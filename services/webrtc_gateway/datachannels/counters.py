"""What the data channels count, as plain integers for the metrics to read."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class DataCounters:
    """Sums over every session of this process, past ones included."""

    opened: int = 0
    """Channels opened, by either side."""
    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Messages that were not handed on, by reason: `not_open`, `buffer_full` and `too_large` on their way to a
    peer, `rate_in`,
    `rate_out`, `size_in`, `size_out` and `not_allowed` at a bridge, `echo_malformed`, `echo_rate` and
    `echo_implausible` on the label `latency`."""
    refused: Counter[str] = field(default_factory=Counter)
    """Channels that were closed at once, by reason: `unknown_label`, `label_taken`, `too_many`, `bad_label`."""
    packets_refused: Counter[str] = field(default_factory=Counter)
    """SCTP packets that were not looked into, by reason: `malformed`, `out_of_window`, `not_now`, `busy` (the peer
    has used up its share of our time; it sends them again)."""
    ended: Counter[str] = field(default_factory=Counter)
    """Associations that ended before their sessions, by reason: `aborted` by the peer, `violation` of SCTP."""

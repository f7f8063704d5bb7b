"""Which of the packets that a viewer has lost are sent again.

Asked for are all of them, every 100 ms or so until they come: on a line that is too thin each of these makes it
thinner. So repairs have a share of what is sent, and none is on its way twice.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence

SHARE = 0.5  # of the packets of the second before: what a third of the packets lost would need, some of them twice
SHARE_THIN = 0.1  # of a line that looks too thin
_MIN_PACKETS_PER_SECOND = 32  # a key frame of a small picture
_UNKNOWN_RTT_SECONDS = 0.05
_MAX_REMEMBERED = 512  # sequence numbers on their way: a second's of the largest share


class Repairs:
    """Of one track of one viewer."""

    def __init__(self, drops: Counter[str]) -> None:
        self._drops = drops
        self._left = _MIN_PACKETS_PER_SECOND
        self._packets_before = 0
        self._sent_s: OrderedDict[int, float] = OrderedDict()
        """When a packet was last sent again, by its sequence number, oldest first."""

    def tick(self, packets: int, thin: bool) -> None:
        """Once a second: `packets` is how many were sent so far, these not counted."""
        share = SHARE_THIN if thin else SHARE
        self._left = max(_MIN_PACKETS_PER_SECOND, int((packets - self._packets_before) * share))
        self._packets_before = packets

    def choose(self, lost: Sequence[int], rtt_s: float | None, now_s: float) -> list[int]:
        """Those to send again now."""
        wait_s = _UNKNOWN_RTT_SECONDS if rtt_s is None else rtt_s
        chosen = []
        for sequence in lost:
            if now_s - self._sent_s.get(sequence, float("-inf")) < wait_s:
                self._drops["nack_on_its_way"] += 1
            elif self._left <= 0:
                self._drops["nack_share"] += 1
            else:
                self._left -= 1
                self._sent_s[sequence] = now_s
                self._sent_s.move_to_end(sequence)
                chosen.append(sequence)
        while len(self._sent_s) > _MAX_REMEMBERED:
            self._sent_s.popitem(last=False)
        return chosen

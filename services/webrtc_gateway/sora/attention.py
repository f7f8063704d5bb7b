"""How much of our time the messages of WebSockets may take: who says more than that is read later, and loses nothing.

Pictures of all sessions pass through the thread that reads these messages.
"""

import time
from collections.abc import Callable

from services.webrtc_gateway.datachannels.rate import Rate

_MESSAGES_PER_SECOND, _MESSAGES_BURST = 50.0, 100.0  # as over data channels; a client says something every few seconds
# Of a core. An answer with 16 m-lines takes 10 ms, the most that fits in a message 25 ms.
_CPU_SHARE, _CPU_BURST_SECONDS = 0.1, 0.2
_ALL_CPU_SHARE, _ALL_CPU_BURST_SECONDS = 0.4, 0.4  # as much as data channels have
PAUSE_SECONDS = 0.05  # tokens come with time, and tell nobody


def attention_of_all() -> Rate:
    """What the sockets of one gateway share."""
    return Rate(_ALL_CPU_SHARE, _ALL_CPU_BURST_SECONDS)


class Attention:
    """What one socket gets."""

    def __init__(self, of_all: Rate, clock: Callable[[], float] = time.thread_time) -> None:
        """`clock` tells the seconds that this thread has worked."""
        self._clock = clock
        self._all_cpu, self._cpu = of_all, Rate(_CPU_SHARE, _CPU_BURST_SECONDS)
        self._messages = Rate(_MESSAGES_PER_SECOND, _MESSAGES_BURST)

    @property
    def is_spent(self) -> bool:
        return self._messages.left < 1 or self._cpu.left <= 0 or self._all_cpu.left <= 0

    def give(self, hear: Callable[[str], bool], text: str) -> bool:
        """Have a message heard, and count what that takes; returns what `hear` does."""
        began_s = self._clock()
        try:
            return hear(text)
        finally:
            used_s = self._clock() - began_s
            self.count()
            self._cpu.spend(used_s)
            self._all_cpu.spend(used_s)

    def count(self) -> None:
        """A message has come that nobody hears."""
        self._messages.spend(1)

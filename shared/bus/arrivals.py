"""The order in which messages came, across subscriptions.

Each subscription of nats-py empties its own queue before another's turn comes: of `on`, `off`, `on` that arrive at once
both `on` would be handled before the `off`, and an output that is to be on would end off.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from nats.aio.msg import Msg

_numbers = itertools.count()


@dataclass
class ArrivedMsg(Msg):
    """A message that knows when it came."""

    number: int = field(default_factory=_numbers.__next__)
    """Greater than that of every message that was read before it."""


class InOrder:
    """Begins what belongs to messages in the order in which they came; never later than two turns of the event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._turn: asyncio.Handle | None = None
        self._ties = itertools.count()

    def begin(self, message: Msg, work: Callable[[], None]) -> None:
        """Call `work` once every subscription has handed over what was read together with `message`."""
        number = message.number if isinstance(message, ArrivedMsg) else 0
        heapq.heappush(self._waiting, (number, next(self._ties), work))
        if self._turn is None:
            # All whose messages came in the same read have their turn before this one.
            self._turn = asyncio.get_running_loop().call_soon(self._begin_all)

    def _begin_all(self) -> None:
        self._turn = None
        while self._waiting:
            heapq.heappop(self._waiting)[2]()

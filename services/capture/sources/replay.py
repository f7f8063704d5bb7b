"""What a live playlist offers again when it is opened again: its last segments, which have been played already.

A server whose packager has died serves its last playlist for ever; played anew at each attempt it would look alive.
"""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from av.packet import Packet

# Playing begins within the last two segments, usually of 2 to 10 s each. Of a track of 120 packets/s those of 30 s.
_MAX_PACKETS: Final = 4096


class Replay:
    """Remembers the packets of one stream that were played last, by track, time and size. For one thread at a time."""

    def __init__(self) -> None:
        self._order: deque[tuple[int, int, int]] = deque()
        self._known: set[tuple[int, int, int]] = set()

    def seen(self, packet: "Packet[Any]") -> bool:
        """Whether a packet has been played before; it counts as played from now on."""
        if packet.dts is None:
            return False
        key = (packet.stream.index, packet.dts, packet.size)
        if key in self._known:
            return True
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > _MAX_PACKETS:
            self._known.discard(self._order.popleft())
        return False

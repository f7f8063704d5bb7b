"""Packet rings: the last seconds of a rendition's packets, in shared memory, for every process of the node.

The rendition's one producer writes; gateways take the current group of pictures from it, recordings their
pre-roll, and a publisher that was killed goes on where it was. `layout` documents the file.
"""

from shared.packet_ring.folder import sweep, writers_of
from shared.packet_ring.reader import PacketRingReader
from shared.packet_ring.size import PacketRingSettings, RingSize, check_history, ring_size
from shared.packet_ring.writer import PacketRingWriter

__all__ = [
    "PacketRingReader",
    "PacketRingSettings",
    "PacketRingWriter",
    "RingSize",
    "check_history",
    "ring_size",
    "sweep",
    "writers_of",
]

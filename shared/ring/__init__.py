"""Frame rings: pictures in shared memory, handed over by reference, held by kernel locks.

`StreamWriter` (or `RingWriter`) puts pictures in, `RingReader` leases them; `layout` documents the file format.
"""

from shared.ring.errors import (
    BadRing,
    FrameOverwritten,
    LeaseError,
    LeaseLimit,
    NotConsumed,
    RingError,
    RingGone,
    Superseded,
)
from shared.ring.folder import RingEntry, list_rings, sweep
from shared.ring.layout import RingGeometry, RingHeader
from shared.ring.lease import Lease
from shared.ring.lossless import LosslessGate
from shared.ring.newest import kept_pictures, newest_picture
from shared.ring.occupancy import Occupancy, occupancy
from shared.ring.reader import LeaseCounts, RingReader
from shared.ring.slot import WritableSlot, WriterCounts
from shared.ring.stream_writer import StreamWriter
from shared.ring.writer import RingWriter

__all__ = [
    "BadRing",
    "FrameOverwritten",
    "Lease",
    "LeaseCounts",
    "LeaseError",
    "LeaseLimit",
    "LosslessGate",
    "NotConsumed",
    "Occupancy",
    "RingEntry",
    "RingError",
    "RingGeometry",
    "RingGone",
    "RingHeader",
    "RingReader",
    "RingWriter",
    "StreamWriter",
    "Superseded",
    "WritableSlot",
    "WriterCounts",
    "kept_pictures",
    "list_rings",
    "newest_picture",
    "occupancy",
    "sweep",
]

"""How full the rings of a node are, as whoever looks from outside sees it: nothing of it costs writers or readers."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from shared.kernel_locks import is_read_locked
from shared.ring.errors import BadRing
from shared.ring.folder import list_rings, open_ring
from shared.ring.layout import slot_header_offset


@dataclass
class Occupancy:
    """Of the rings of one stream that somebody writes: mostly one, for a second two where the geometry changes."""

    slots: int = 0
    held: int = 0
    """Slots that readers hold at this moment."""
    file_bytes: int = 0


def occupancy(folder: Path) -> dict[str, Occupancy]:
    """By stream; a microsecond for each slot, and some ten for each ring."""
    found: dict[str, Occupancy] = {}
    for entry in list_rings(folder):
        if not entry.writer_alive:
            continue
        header = entry.header
        with contextlib.suppress(OSError, BadRing):  # it has gone meanwhile
            fd = open_ring(folder, entry.name, os.O_RDONLY)
            try:
                held = sum(is_read_locked(fd, slot_header_offset(slot)) for slot in range(header.slots))
            finally:
                os.close(fd)
            one = found.setdefault(header.stream, Occupancy())
            one.slots += header.slots
            one.held += held
            one.file_bytes += header.file_bytes
    return found

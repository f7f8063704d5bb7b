"""The pictures of a stream, found in its rings: for those who did not hear of them when they were written."""

import os
from pathlib import Path
from typing import get_args

from schemas.frames import Clock, FrameRef
from shared.ring.errors import BadRing
from shared.ring.folder import open_ring, written_rings
from shared.ring.layout import (
    CLOCK_CODES,
    HEADER_BYTES,
    SLOT_HEADER_BYTES,
    SLOT_TIMES,
    SLOT_TIMES_OFFSET,
    RingHeader,
    colours_of_word,
)

_CLOCKS: dict[int, Clock] = {CLOCK_CODES[clock]: clock for clock in get_args(Clock)}


def newest_picture(folder: Path, stream: str) -> FrameRef | None:
    """A reference to the picture that was written last; None when nobody writes the stream, or has not yet.

    Costs a listing of the folder and two reads. As with any reference, the picture may be overwritten meanwhile.
    """
    rings = sorted(written_rings(folder, stream), key=lambda ring: (ring.epoch, ring.last_sequence), reverse=True)
    return max(_slots(folder, rings[0]), key=lambda ref: ref.sequence, default=None) if rings else None


def kept_pictures(folder: Path, stream: str) -> list[FrameRef]:
    """References to all pictures in rings that somebody writes, the oldest first; costs as `newest_picture`."""
    found = [ref for ring in written_rings(folder, stream) for ref in _slots(folder, ring)]
    return sorted(found, key=lambda ref: (ref.epoch, ref.sequence))


def _slots(folder: Path, ring: RingHeader) -> list[FrameRef]:
    try:
        fd = open_ring(folder, ring.name, os.O_RDONLY)
    except (OSError, BadRing):  # it went away a moment ago
        return []
    try:
        page = os.pread(fd, ring.slots * SLOT_HEADER_BYTES, HEADER_BYTES)
    finally:
        os.close(fd)
    found: list[FrameRef] = []
    # Read without the slots' locks, which who leases the picture takes: a torn header is a reference to nothing.
    for slot in range(len(page) // SLOT_HEADER_BYTES):
        start = slot * SLOT_HEADER_BYTES
        sequence = int.from_bytes(page[start : start + 8], "little")
        if not sequence:
            continue
        *times, clock, colours = SLOT_TIMES.unpack_from(page, start + SLOT_TIMES_OFFSET)
        pts_ns, captured_ns, monotonic_ns, duration_ns = times
        found.append(
            FrameRef(
                stream=ring.stream,
                node=ring.node,
                epoch=ring.epoch,
                sequence=sequence,
                ring=ring.name,
                slot=slot,
                pixel_format=ring.geometry.pixel_format,
                width=ring.geometry.width,
                height=ring.geometry.height,
                pts_ns=pts_ns,
                captured_ns=captured_ns,
                monotonic_ns=monotonic_ns,
                duration_ns=duration_ns,
                clock=_CLOCKS.get(clock, "arrival"),
                delivery=ring.delivery,
                colour_space=colours_of_word(colours),
            )
        )
    return found

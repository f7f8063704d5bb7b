"""The picture nearest to a moment that is still in the frame ring."""

import contextlib
from pathlib import Path

from services.frame_extractor.live.found import Found
from shared.media.frames import ref_frame
from shared.ring import Lease, LeaseError, RingReader, kept_pictures


def nearest_in_ring(folder: Path, reader: RingReader, stream: str, at_ns: int) -> tuple[Found | None, int]:
    """The picture, held, and the capture of the oldest one; 0 when there is none. Blocks for some system calls."""
    refs = kept_pictures(folder, stream)
    oldest_ns = min((ref.captured_ns for ref in refs), default=0)
    for ref in sorted(refs, key=lambda ref: (abs(ref.captured_ns - at_ns), -ref.epoch)):
        with contextlib.suppress(LeaseError):  # overwritten meanwhile: the next nearest
            return of_lease(reader.lease(ref), "ring"), oldest_ns
    return None, oldest_ns


def of_lease(lease: Lease, origin: str) -> Found:
    """The held picture, in place: it is the writer's again once it is released and nothing made of it is left.

    Chains of filters hand on what they are given and keep none of it; none of those for pictures in progressive 4:2:0,
    RGB, grey or mosaics writes to it, which lies in memory that is mapped to be read.
    """
    ref = lease.ref
    return Found(
        origin="live" if origin == "live" else "ring",
        captured_ns=ref.captured_ns,
        epoch=ref.epoch,
        sequence=ref.sequence,
        duration_ns=ref.duration_ns,
        frame=lambda: ref_frame(lease.array, ref),
        release=lease.release,
    )

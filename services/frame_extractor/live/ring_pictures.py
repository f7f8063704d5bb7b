"""The picture nearest to a moment that is still in the frame ring."""

import contextlib
from pathlib import Path

from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace

from services.frame_extractor.live.found import Found
from shared.media.frames import copied_frame
from shared.pixel_formats import SUBSAMPLED
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
    """The held picture; it is released with what is returned, or once there is a frame of it."""
    ref = lease.ref

    def frame() -> VideoFrame:
        # A copy: filters keep the last picture that they were given, and with every slot kept the writer has none.
        copy = copied_frame(lease.array, ref.pixel_format, ref.width, ref.height)
        lease.release()
        if ref.pixel_format in SUBSAMPLED:
            copy.colorspace = Colorspace.ITU601  # as all who take pictures of the ring read it
        return copy

    return Found(
        origin="live" if origin == "live" else "ring",
        captured_ns=ref.captured_ns,
        epoch=ref.epoch,
        sequence=ref.sequence,
        duration_ns=ref.duration_ns,
        frame=frame,
        release=lease.release,
    )

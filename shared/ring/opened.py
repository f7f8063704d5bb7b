"""A ring that a reader has open: its locks, its mapping, and who holds which slot in this process."""

import mmap
import os
from pathlib import Path

from shared.kernel_locks import LockFile, read_lock, unlock
from shared.ring.folder import open_ring, read_header
from shared.ring.layout import CLOSED_WORD, slot_header_offset


class OpenRing:
    """Opened read-only and mapped read-only: whatever a consumer does, no picture is damaged.

    Raises:
        OSError: no such ring, or no right to read it.
        BadRing: not a ring; never mapped then.
    """

    __slots__ = (
        "array_dtype", "array_shape", "epoch", "file", "header", "height", "held", "holds", "lock_requests", "map",
        "node", "pixel_format", "sequence_words", "slot_offsets", "slots", "stream", "unlock_requests", "width",
        "words",
    )  # fmt: skip

    def __init__(self, folder: Path, name: str) -> None:
        self.file = LockFile(open_ring(folder, name, os.O_RDONLY))
        header = self.header = read_header(self.file.fd)
        fd = self.file.reopen(os.O_RDONLY)  # a mapping of the lock's own description would keep the locks after close
        try:
            self.map = mmap.mmap(fd, header.file_bytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        self.words = memoryview(self.map).cast("Q")
        # What every lease compares with the reference, taken from the header once: that is what was checked.
        self.stream, self.node, self.epoch, self.slots = header.stream, header.node, header.epoch, header.slots
        geometry = header.geometry
        self.pixel_format, self.width, self.height = geometry.pixel_format, geometry.width, geometry.height
        self.array_shape, self.array_dtype = geometry.array_shape, geometry.array_dtype
        offsets = [slot_header_offset(slot) for slot in range(header.slots)]
        self.sequence_words = [offset // 8 for offset in offsets]
        self.lock_requests = [read_lock(offset) for offset in offsets]
        self.unlock_requests = [unlock(offset) for offset in offsets]
        self.slot_offsets = [header.slot_offset(slot) for slot in range(header.slots)]
        self.holds = [0] * header.slots
        """Leases of this process on each slot: the kernel merges them into one lock, so they are counted here."""
        self.held = 0

    @property
    def ended(self) -> bool:
        """Nothing new will come: its writer closed it, or it was swept."""
        return bool(self.words[CLOSED_WORD]) or self.file.fd < 0 or os.fstat(self.file.fd).st_nlink == 0

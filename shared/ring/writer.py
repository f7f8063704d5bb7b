"""The writing end of a ring: slots that pictures are put into, in place.

A `RingWriter` and its slots belong to one thread at a time.
"""

import mmap
import os
import secrets
import time
from collections.abc import Container
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.colours import UNSPECIFIED, ColourSpace
from schemas.errors import InvalidValue
from schemas.frames import Clock, Delivery, FrameRef
from schemas.ids import check_id
from shared.kernel_locks import TO_FILE_END, LockFile, unlock, write_lock
from shared.ring.errors import Superseded
from shared.ring.file import make_locked_file
from shared.ring.folder import ensure_folder, newest_epoch, supersede_older, sweep
from shared.ring.layout import (
    CLOCK_CODES,
    CLOSED_WORD,
    LAST_SEQUENCE_WORD,
    MAX_SLOTS,
    MIN_SLOTS,
    SLOT_TIMES,
    SLOT_TIMES_OFFSET,
    SUPERSEDED_BY_WORD,
    WRITER_LOCK_OFFSET,
    RingGeometry,
    RingHeader,
    colour_word,
    slot_header_offset,
)
from shared.ring.slot import NO_METADATA, Metadata, WritableSlot, WriterCounts
from shared.ring.slot_order import DEFAULT_HISTORY, DEFAULT_KEEP_SECONDS, SlotOrder

DEFAULT_SLOTS: Final = 8
NO_SEQUENCES: Final[Container[int]] = ()


class RingWriter:
    """Writes the pictures of one stream, of one geometry, into one ring. Made by `create`."""

    def __init__(
        self, folder: Path, header: RingHeader, file: LockFile, *, history: int, keep_seconds: float, last_sequence: int
    ) -> None:
        self.folder, self.header, self.name = folder, header, header.name
        self.epoch, self.geometry = header.epoch, header.geometry
        self.last_sequence = last_sequence
        self.counts = WriterCounts()
        self._file = file
        self._map = _map_for_writing(file, header.file_bytes)
        self._words = memoryview(self._map).cast("Q")
        slots = range(header.slots)
        self._pictures = [
            np.ndarray(self.geometry.array_shape, self.geometry.array_dtype, self._map, header.slot_offset(slot))
            for slot in slots
        ]
        self._offsets = [slot_header_offset(slot) for slot in slots]
        self._lock_requests = [write_lock(offset) for offset in self._offsets]
        self._unlock_requests = [unlock(offset) for offset in self._offsets]
        self._order = SlotOrder(header.slots, history, keep_seconds)
        self._starved_since: float | None = None
        self._newest_slot: int | None = None
        self._colour_space, self._colour_word = UNSPECIFIED, 0

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        stream: str,
        node: str,
        epoch: int,
        geometry: RingGeometry,
        slots: int = DEFAULT_SLOTS,
        delivery: Delivery = "live",
        history: int = DEFAULT_HISTORY,
        keep_seconds: float = DEFAULT_KEEP_SECONDS,
        last_sequence: int = 0,
    ) -> "RingWriter":
        """Make a ring in `folder`, all its memory reserved; sweeps dead rings first and supersedes older epochs.

        The `history` newest pictures stay intact always (but one slot is always left to write to), pictures
        younger than `keep_seconds` while others will do.
        Sequences go on after `last_sequence`.

        Raises:
            OutOfSpace: nothing is left behind.
            Superseded: the folder has a ring of the stream with a newer epoch.
            InvalidValue: a bad name, slot count or history.
        """
        if not MIN_SLOTS <= slots <= MAX_SLOTS:
            raise InvalidValue("slots", slots, f"use {MIN_SLOTS} to {MAX_SLOTS}")
        if history < 0:
            raise InvalidValue("history", history, "use 0 or more")
        header = RingHeader(
            stream=check_id(stream, "stream"),
            node=check_id(node, "node"),
            epoch=epoch,
            ring_id=secrets.randbits(64),
            geometry=geometry,
            slots=slots,
            delivery=delivery,
            created_ns=time.time_ns(),
            last_sequence=last_sequence,
        )
        ensure_folder(folder)
        sweep(folder)
        _check_newest(folder, header)
        file = _make_file(folder, header)
        try:
            writer = cls(folder, header, file, history=history, keep_seconds=keep_seconds, last_sequence=last_sequence)
            # In this order: of two writers that start at once, either the newer one sees the older one's ring and
            # marks it, or the older one, which linked later, sees the newer one's here.
            supersede_older(folder, stream, epoch)
            _check_newest(folder, header)
        except BaseException:
            (folder / header.name).unlink(missing_ok=True)
            file.close()
            raise
        return writer

    @property
    def superseded(self) -> bool:
        """A writer with a newer epoch has taken over: stop."""
        return self._newer_epoch() > self.epoch

    def _newer_epoch(self) -> int:
        return self._words[SUPERSEDED_BY_WORD] if self._file.fd >= 0 else 0

    @property
    def starved_seconds(self) -> float:
        """For how long every `acquire` has failed; 0 when the last one did not."""
        return 0.0 if self._starved_since is None else time.monotonic() - self._starved_since

    @property
    def newest(self) -> NDArray[np.uint8] | None:
        """The picture written last, to be read only; None before the first. Stays as it is while its sequence is given
        to `acquire` as protected."""
        return None if self._newest_slot is None else self._pictures[self._newest_slot]

    def acquire(self, protect: Container[int] = NO_SEQUENCES) -> WritableSlot | None:
        """A slot that no reader holds; None when there is none and the picture must be dropped. Never waits.

        Slots whose sequence is in `protect` (a `range`, say) are passed over as if they were leased.

        Raises:
            Superseded: a newer writer has the stream.
        """
        self._check_usable()
        order = self._order
        for slot in order.candidates(time.monotonic_ns()):
            if order.sequences[slot] in protect:
                continue
            if not self._file.try_lock(self._lock_requests[slot]):
                self.counts.passed_over += 1
                continue
            order.take(slot)
            self._words[self._offsets[slot] >> 3] = 0
            self._starved_since = None
            return WritableSlot(self, slot, self._pictures[slot])
        self.counts.starved += 1
        if self._starved_since is None:
            self._starved_since = time.monotonic()
        return None

    def _commit(
        self,
        slot: int,
        pts_ns: int,
        captured_ns: int,
        monotonic_ns: int,
        duration_ns: int,
        clock: Clock,
        exposure_ns: int,
        metadata: Metadata,
        colour_space: ColourSpace,
    ) -> FrameRef:
        if self._file.fd < 0 or self._words[SUPERSEDED_BY_WORD] > self.epoch:
            self._abandon(slot)
            self._check_usable()
        sequence = self.last_sequence + 1
        offset = self._offsets[slot]
        if colour_space is not self._colour_space:  # mostly the same object, and to look its word up takes longer
            self._colour_space, self._colour_word = colour_space, colour_word(colour_space)
        colours = self._colour_word
        try:
            times = (pts_ns, captured_ns, monotonic_ns, duration_ns, CLOCK_CODES[clock], colours)
            SLOT_TIMES.pack_into(self._map, offset + SLOT_TIMES_OFFSET, *times)
        except BaseException:  # a time that is no 64-bit integer, an unknown clock: the slot must not be lost
            self._abandon(slot)
            raise
        # Readers compare the sequence under the slot's lock, so the unlock below is what publishes all of it.
        self._words[offset >> 3] = sequence
        self._words[LAST_SEQUENCE_WORD] = sequence
        self._file.unlock(self._unlock_requests[slot])
        self.last_sequence = sequence
        self._newest_slot = slot
        self._order.publish(slot, sequence, time.monotonic_ns())
        self.counts.committed += 1
        header, geometry = self.header, self.geometry
        # Of more than fifteen arguments CPython makes a dictionary first, which takes as long as all the rest.
        ref = FrameRef(
            stream=header.stream,
            node=header.node,
            epoch=self.epoch,
            sequence=sequence,
            ring=self.name,
            slot=slot,
            pixel_format=geometry.pixel_format,
            width=geometry.width,
            height=geometry.height,
            pts_ns=pts_ns,
            captured_ns=captured_ns,
            monotonic_ns=monotonic_ns,
            duration_ns=duration_ns,
            clock=clock,
            colour_space=colour_space,
        )
        if not exposure_ns and metadata is NO_METADATA and header.delivery == "live":
            return ref
        # Copied: the caller may go on with its own.
        return msgspec.structs.replace(ref, delivery=header.delivery, exposure_ns=exposure_ns, metadata=dict(metadata))

    def _abandon(self, slot: int) -> None:
        self._file.unlock(self._unlock_requests[slot])
        self._order.give_back(slot)
        self.counts.abandoned += 1

    def _check_usable(self) -> None:
        if self._file.fd < 0:
            raise RuntimeError(f"{self.name} is closed, or was made before a fork")
        newer_epoch = self._newer_epoch()
        if newer_epoch > self.epoch:
            raise Superseded(self.header.stream, self.epoch, newer_epoch)

    def close(self) -> None:
        """Remove the ring; readers keep what they have open. May be called again."""
        if self._file.fd < 0:
            return
        self._words[CLOSED_WORD] = 1  # readers drop their mapping when they next look
        (self.folder / self.name).unlink(missing_ok=True)
        self._file.unlock(unlock(0, TO_FILE_END))
        self._file.close()
        # The memory is free once nothing maps it: what remains are arrays of slots that the caller still has.
        self._pictures.clear()
        self._words.release()
        del self._map

    def __enter__(self) -> "RingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_newest(folder: Path, header: RingHeader) -> None:
    newest = newest_epoch(folder, header.stream)
    if newest > header.epoch:
        raise Superseded(header.stream, header.epoch, newest)


def _map_for_writing(file: LockFile, length_bytes: int) -> mmap.mmap:
    fd = file.reopen(os.O_RDWR)  # a mapping of the lock's own description would keep the locks after close
    try:
        # Populated: 25 ms once for 100 MB instead of a page fault every 4 KiB of the first pictures.
        return mmap.mmap(fd, length_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(fd)


def _make_file(folder: Path, header: RingHeader) -> LockFile:
    """The ring's file: reserved, locked, its header written, and only then named."""
    return make_locked_file(
        folder,
        header.name,
        size_bytes=header.file_bytes,
        lock_offset=WRITER_LOCK_OFFSET,
        what=f"frame ring of {header.stream}, {header.slots} slots of {header.geometry.frame_bytes} bytes",
        fill=lambda fd: os.pwrite(fd, header.pack(), 0),
    )

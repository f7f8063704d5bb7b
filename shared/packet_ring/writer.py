"""The writing end of a packet ring."""

import os
import time
import zlib
from collections import deque
from pathlib import Path
from typing import Final

from schemas.errors import InvalidValue
from schemas.packets import PacketHeader, pack
from shared.kernel_locks import LockFile
from shared.packet_ring.folder import new_name, sweep
from shared.packet_ring.layout import (
    HEADER_BYTES,
    MAX_CAPACITY_BYTES,
    MIN_CAPACITY_BYTES,
    RECORD_BYTES,
    STATE_OFFSET,
    WRITER_LOCK_OFFSET,
    Record,
    RingFacts,
    State,
)
from shared.ring.file import make_locked_file
from shared.shm_folder import ensure_folder

DEFAULT_SECONDS: Final = 15.0  # a killed publisher is back in 2 s; pre-roll is asked for in seconds, 5 or 10
DEFAULT_MAX_BYTES: Final = 32 * 1024 * 1024  # 15 s of 17 Mbit/s
_COPY_BYTES: Final = 1 << 20  # at a time, of a ring that changes its size


class PacketRingWriter:
    """Keeps the last packets of one rendition for every process of the node. One thread at a time. See `create`."""

    def __init__(self, folder: Path, name: str, facts: RingFacts, file: LockFile, seconds: float) -> None:
        self.folder, self.name, self.facts = folder, name, facts
        self.too_large = 0
        """Packets that are larger than the whole ring, and were not kept."""
        self._file = file
        self._keep_ns = int(seconds * 1e9)
        self._state = State()
        self._records: deque[tuple[int, int]] = deque()
        """End position and CLOCK_MONOTONIC of each record in the ring, the oldest first."""

    @classmethod
    def create(
        cls,
        folder: Path,
        stream: str,
        rendition: str,
        run: int,
        *,
        seconds: float = DEFAULT_SECONDS,
        max_bytes: int = DEFAULT_MAX_BYTES,
        continues: "PacketRingWriter | None" = None,
        fix: str = "",
    ) -> "PacketRingWriter":
        """Make a ring in `folder`, all its memory reserved; sweeps dead packet rings first.

        `run` grows with every new producer of the rendition; readers take the ring of the highest one. `continues`: a
        ring of the same run and another size, whose packets the new one begins with; close it afterwards. `fix`: what
        to change where memory is too small, besides the usual.

        Raises:
            OutOfSpace: nothing is left behind.
            InvalidValue: a bad name or size.
        """
        if not MIN_CAPACITY_BYTES <= max_bytes <= MAX_CAPACITY_BYTES:
            raise InvalidValue("max_bytes", max_bytes, f"use {MIN_CAPACITY_BYTES} to {MAX_CAPACITY_BYTES}")
        name = new_name(stream, rendition, run)
        facts = RingFacts(stream, rendition, run, time.time_ns(), max_bytes)
        ensure_folder(folder)
        sweep(folder)

        state = State() if continues is None else continues._state_within(max_bytes)

        def fill(fd: int) -> None:
            os.pwrite(fd, facts.pack(), 0)
            if continues is not None:
                continues._copy(fd, max_bytes, state)
            os.pwrite(fd, state.pack(), STATE_OFFSET)

        file = make_locked_file(
            folder,
            name,
            size_bytes=HEADER_BYTES + max_bytes,
            lock_offset=WRITER_LOCK_OFFSET,
            what=f"packet ring of {stream}/{rendition}",
            fill=fill,
            fix=fix,
        )
        ring = cls(folder, name, facts, file, seconds)
        if continues is not None:
            ring._state = state
            ring.too_large = continues.too_large
            ring._records.extend(record for record in continues._records if record[0] > state.tail)
        return ring

    @property
    def held_seconds(self) -> float:
        """Age of the oldest packet in the ring."""
        return (time.monotonic_ns() - self._records[0][1]) / 1e9 if self._records else 0.0

    def keep(self, seconds: float) -> None:
        """Let packets get so old from now on."""
        self._keep_ns = int(seconds * 1e9)

    def append(self, header: PacketHeader, payload: bytes | memoryview) -> None:
        """Add a packet, for which the oldest make room."""
        body = pack(header, payload)
        needed_bytes = RECORD_BYTES + len(body)
        if needed_bytes > self.facts.capacity_bytes:
            self.too_large += 1
            return
        now_ns = time.monotonic_ns()
        state = self._state
        tail = self._tail_after(state, needed_bytes, now_ns)
        if tail != state.tail:
            # Before the bytes are overwritten: a reader that copied some of them looks at the tail again afterwards
            # and throws its copy away. pwrite is a system call, so no CPU sees the two in another order.
            state = state._replace(tail=tail)
            self._write_state(state)
        record = Record(state.head, header.pts_ns, header.index, len(body), zlib.crc32(body), header.track, header.key)
        self._write(state.head, memoryview(record.pack() + body))
        state = state._replace(head=record.end, packets=state.packets + 1)
        if record.is_video_key:
            state = state._replace(last_key=record.position, key_before=state.last_key)
        self._write_state(state)
        self._records.append((record.end, now_ns))

    def close(self) -> None:
        """Remove the ring; readers that have it open can still read it."""
        if self._file.fd >= 0:
            (self.folder / self.name).unlink(missing_ok=True)
            self._file.close()

    def _state_within(self, capacity_bytes: int) -> State:
        """The state of a ring of another capacity with as many of these packets as it takes."""
        tail = self._state.tail
        for end, _ in self._records:
            if self._state.head - tail <= capacity_bytes:
                break
            tail = end
        return self._state._replace(tail=tail)

    def _copy(self, fd: int, capacity_bytes: int, state: State) -> None:
        """Put the packets into another ring's file: at the same positions, which lie elsewhere in its circle."""
        position = state.tail
        while position < state.head:
            here, there = position % self.facts.capacity_bytes, position % capacity_bytes
            room = min(self.facts.capacity_bytes - here, capacity_bytes - there, _COPY_BYTES)
            data = os.pread(self._file.fd, min(room, state.head - position), HEADER_BYTES + here)
            os.pwrite(fd, data, HEADER_BYTES + there)
            position += len(data)

    def _tail_after(self, state: State, needed_bytes: int, now_ns: int) -> int:
        tail = state.tail
        room_until = state.head + needed_bytes - self.facts.capacity_bytes
        while self._records and (tail < room_until or now_ns - self._records[0][1] > self._keep_ns):
            tail = self._records.popleft()[0]
        return tail

    def _write(self, position: int, data: memoryview) -> None:
        offset = position % self.facts.capacity_bytes
        room = self.facts.capacity_bytes - offset
        os.pwrite(self._file.fd, data[:room], HEADER_BYTES + offset)
        if len(data) > room:
            os.pwrite(self._file.fd, data[room:], HEADER_BYTES)

    def _write_state(self, state: State) -> None:
        os.pwrite(self._file.fd, state.pack(), STATE_OFFSET)
        self._state = state

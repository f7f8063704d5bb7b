"""The reading end of a packet ring: joins, pre-roll, and going on after a crash.

The writer never waits and may overwrite a record while it is being copied. So the rule of every read here is:
copy, then look at the tail; if it has passed the record, the copy is worth nothing. `_body` is where that is done.
What was missed so is seen by the indexes of the packets, as any other gap is.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from schemas.errors import BadRequest, NotFound
from schemas.packets import PacketHeader, unpack_packet
from shared.kernel_locks import is_write_locked
from shared.packet_ring.folder import NamedRing, rings_of
from shared.packet_ring.layout import (
    HEADER_BYTES,
    NOWHERE,
    RECORD_BYTES,
    STATE_BYTES,
    STATE_OFFSET,
    WRITER_LOCK_OFFSET,
    Record,
    RingFacts,
    State,
)
from shared.ring.errors import BadRing
from shared.ring.folder import open_ring

Packet = tuple[PacketHeader, bytes]

# A copy that is neither overtaken nor right was taken before all of it was visible on this CPU, or is damage.
_COPY_ATTEMPTS = 3
_STATE_ATTEMPTS = 1_000  # 44 bytes are written in well under a microsecond; two collisions in a row are rare


class PacketRingReader:
    """One ring, opened read-only. Not thread-safe. A context manager."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open a ring by name; `open_latest` finds it.

        Raises:
            OSError: not there, or not readable.
            BadRing: not a packet ring.
        """
        self._fd = -1
        self.name = name
        self._read_until = 0
        """Where the last iterator has come to."""
        self._fd = open_ring(folder, name, os.O_RDONLY)
        try:
            self.facts = RingFacts.parse(os.pread(self._fd, HEADER_BYTES, 0), os.fstat(self._fd).st_size)
        except BadRing:
            self.close()
            raise

    @classmethod
    def open_latest(cls, folder: Path, stream: str, rendition: str) -> "PacketRingReader":
        """The ring of the rendition's newest producer.

        Raises:
            NotFound: there is none on this node.
        """
        for named in reversed(rings_of(folder, stream, rendition)):
            reader = cls._try_open(folder, named, stream, rendition)
            if reader is not None:
                return reader
        raise NotFound(
            f"no packet ring of {stream}/{rendition} in {folder}: its producer runs on another node or not at all"
        )

    @classmethod
    def _try_open(cls, folder: Path, named: NamedRing, stream: str, rendition: str) -> "PacketRingReader | None":
        try:
            reader = cls(folder, named.name)
        except (OSError, BadRing):  # swept meanwhile, or not what its name says
            return None
        if (reader.facts.stream, reader.facts.rendition, reader.facts.run) != (stream, rendition, named.run):
            reader.close()
            return None
        return reader

    @property
    def run(self) -> int:
        """The producer's run."""
        return self.facts.run

    @property
    def ended(self) -> bool:
        """Nothing new will come: the writer closed the ring or died."""
        return os.fstat(self._fd).st_nlink == 0 or not is_write_locked(self._fd, WRITER_LOCK_OFFSET)

    def from_last_key(self) -> list[Packet]:
        """The current group of pictures, with the sound that belongs to it; empty when no key picture is there.

        Raises:
            BadRing: the file is damaged.
        """
        state = self._state()
        if state.last_key == NOWHERE or state.last_key < state.tail:
            return []
        key = self._record(state.last_key)
        if key is None:
            return []
        # Sound is encoded faster than pictures: some that belongs to this picture may lie before it.
        from_position = state.tail if state.key_before == NOWHERE else max(state.tail, state.key_before)
        return list(self._packets(from_position, _belongs_to(key), until=state.head))

    def after(self, run: int, index: int) -> Iterator[Packet]:
        """What came after the picture (run, index), from the key picture on that is needed to decode it.

        So up to a group of pictures is given again. Everything from the oldest key picture on when that one has
        left the ring, or was of another run. Ends when it has caught up with the writer.

        Raises:
            BadRing: the file is damaged.
        """
        return self._from_key(lambda key: run == self.run and key.packet_index <= index + 1)

    def since(self, pts_ns: int) -> Iterator[Packet]:
        """Everything from the last key picture at or before `pts_ns`, or else from the oldest one.

        Ends when it has caught up with the writer.

        Raises:
            BadRing: the file is damaged.
        """
        return self._from_key(lambda key: key.pts_ns <= pts_ns)

    def since_capture(self, captured_ns: int) -> Iterator[Packet]:
        """Everything from the last key picture captured at or before `captured_ns`, or else from the oldest one.

        Ends when it has caught up with the writer.

        Raises:
            BadRing: the file is damaged.
        """

        def early_enough(key: Record) -> bool:
            header = self._header(key)
            return header is not None and header.captured_ns <= captured_ns

        return self._from_key(early_enough)

    def onward(self) -> Iterator[Packet]:
        """What came since the last iterator of this reader has ended, without looking for a key picture again.

        Raises:
            BadRing: the file is damaged.
        """
        return self._packets(self._read_until, lambda _: True)

    def kept_ns(self) -> tuple[int, int] | None:
        """When the oldest key picture and the newest picture were captured; None when there is no key picture.

        Raises:
            BadRing: the file is damaged.
        """
        first: PacketHeader | None = None
        last: Record | None = None
        for record in self._records(self._state().tail):
            if record.track == "video" and (first is not None or record.key):
                first, last = first or self._header(record), record
        end = self._header(last) if last else None
        return (first.captured_ns, (end or first).captured_ns) if first else None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> "PacketRingReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _from_key(self, may_start: Callable[[Record], bool]) -> Iterator[Packet]:
        start: Record | None = None
        for record in self._records(self._state().tail):
            if record.is_video_key and (start is None or may_start(record)):
                start = record
        if start is None:
            return iter(())
        return self._packets(self._state().tail, _belongs_to(start))

    def _packets(self, position: int, wanted: Callable[[Record], bool], until: int | None = None) -> Iterator[Packet]:
        for record in self._records(position, until):
            self._read_until = record.end
            if not wanted(record):
                continue
            body = self._body(record)
            if body is None:
                continue
            try:
                header, payload = unpack_packet(body)
            except BadRequest as error:
                raise BadRing(f"{self.name}: record at {record.position}: {error.message}") from None
            yield header, bytes(payload)

    def _records(self, position: int, until: int | None = None) -> Iterator[Record]:
        """Records from a position on, up to `until`, or to the head as it is when that is reached."""
        while True:
            state = self._state()
            if position < state.tail:
                position = state.tail
            if position >= (state.head if until is None else until):
                return
            record = self._record(position)
            if record is not None:  # else overtaken: the tail has moved
                yield record
                position = record.end

    def _record(self, position: int) -> Record | None:
        """The record at a position between tail and head; None when the writer has overtaken it meanwhile."""
        for _ in range(_COPY_ATTEMPTS):
            record = Record.parse(self._read(position, RECORD_BYTES))
            state = self._state()
            if position < state.tail:
                return None
            if record is not None and record.position == position and record.end <= state.head:
                return record
        raise BadRing(f"{self.name}: no record at {position}")

    def _header(self, record: Record) -> PacketHeader | None:
        """What a record tells of its packet; None when the writer has overtaken it meanwhile."""
        body = self._body(record)
        if body is None:
            return None
        try:
            return unpack_packet(body)[0]
        except BadRequest as error:
            raise BadRing(f"{self.name}: record at {record.position}: {error.message}") from None

    def _body(self, record: Record) -> bytes | None:
        for _ in range(_COPY_ATTEMPTS):
            body = self._read(record.position + RECORD_BYTES, record.body_bytes)
            if record.position < self._state().tail:
                return None
            if zlib.crc32(body) == record.crc:
                return body
        raise BadRing(f"{self.name}: record at {record.position} is damaged")

    def _read(self, position: int, size: int) -> bytes:
        offset = position % self.facts.capacity_bytes
        room = self.facts.capacity_bytes - offset
        data = os.pread(self._fd, min(size, room), HEADER_BYTES + offset)
        if size > room:
            data += os.pread(self._fd, size - room, HEADER_BYTES)
        return data

    def _state(self) -> State:
        for _ in range(_STATE_ATTEMPTS):
            state = State.parse(os.pread(self._fd, STATE_BYTES, STATE_OFFSET), self.facts.capacity_bytes)
            if state is not None:
                return state
        raise BadRing(f"{self.name}: its state is damaged")


def _belongs_to(key: Record) -> Callable[[Record], bool]:
    """Whether a record is the key picture, comes after it, or is sound of its time that was written before it."""
    return lambda record: record.position >= key.position if record.track == "video" else record.pts_ns >= key.pts_ns

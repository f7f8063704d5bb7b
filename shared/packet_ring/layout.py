"""The file of a packet ring.

One page of header, then `capacity_bytes` of records in a circle. Positions count bytes ever written and only grow;
position p lies at byte `p % capacity` of the circle, and a record may run over its end. All values little-endian.

    0    magic, version, capacity, run, creation time, stream, rendition; never change
    256  state: head, tail, last key, key before that, packets written; with a CRC
    4096 records: position, time, index, length, CRC, track, key; then the packed PacketHeader and the payload

The file is never mapped: everything goes through pread(2) and pwrite(2), so that a file that is too short or
truncated by somebody is an error and not a Bus error, and the order of writes is that of the calls on every CPU.
"""

import struct
import zlib
from typing import Final, NamedTuple

from schemas.packets import Track
from shared.ring.errors import BadRing

MAGIC: Final = b"FMPRING\0"
VERSION: Final = 1
HEADER_BYTES: Final = 4096
STATE_OFFSET: Final = 256
# Held for life by the writer, as in a frame ring; locks lie beside content, the byte itself is part of the magic.
WRITER_LOCK_OFFSET: Final = 0
MIN_CAPACITY_BYTES: Final = 64 * 1024
MAX_CAPACITY_BYTES: Final = 1 << 36
NOWHERE: Final = (1 << 64) - 1

_FIXED = struct.Struct("<8sIIQQQ64s64s")
_STATE = struct.Struct("<QQQQQ")
_RECORD = struct.Struct("<QqQIIBB6x")
_CRC = struct.Struct("<I")
RECORD_BYTES: Final = _RECORD.size
STATE_BYTES: Final = _STATE.size + _CRC.size
_TRACKS: Final[tuple[Track, ...]] = ("video", "opus", "aac")
_TRACK_CODES: Final = {track: code for code, track in enumerate(_TRACKS)}


class RingFacts(NamedTuple):
    """What never changes in a ring."""

    stream: str
    rendition: str
    run: int
    created_ns: int
    capacity_bytes: int

    def pack(self) -> bytes:
        return _FIXED.pack(
            MAGIC,
            VERSION,
            HEADER_BYTES,
            self.capacity_bytes,
            self.run,
            self.created_ns,
            self.stream.encode(),
            self.rendition.encode(),
        )

    @classmethod
    def parse(cls, data: bytes, file_bytes: int) -> "RingFacts":
        """The facts of a file of that size.

        Raises:
            BadRing: it is none, or its size contradicts its header.
        """
        if len(data) < _FIXED.size:
            raise BadRing(f"{file_bytes} bytes are too few for a packet ring")
        magic, version, header_bytes, capacity, run, created_ns, stream, rendition = _FIXED.unpack_from(data)
        if magic != MAGIC or version != VERSION or header_bytes != HEADER_BYTES:
            raise BadRing("not a packet ring of this version")
        if not MIN_CAPACITY_BYTES <= capacity <= MAX_CAPACITY_BYTES or file_bytes != HEADER_BYTES + capacity:
            raise BadRing(f"a capacity of {capacity} bytes in a file of {file_bytes}")
        try:
            return cls(
                stream.rstrip(b"\0").decode("ascii"), rendition.rstrip(b"\0").decode("ascii"), run, created_ns, capacity
            )
        except UnicodeDecodeError:
            raise BadRing("its names are not text") from None


class State(NamedTuple):
    """Where the records are."""

    head: int = 0
    """Where the next record will begin: all before it is written."""
    tail: int = 0
    """The oldest record that is still whole."""
    last_key: int = NOWHERE
    """The newest key picture; it may lie before the tail, and is lost then."""
    key_before: int = NOWHERE
    packets: int = 0
    """Ever written."""

    def pack(self) -> bytes:
        data = _STATE.pack(*self)
        return data + _CRC.pack(zlib.crc32(data))

    @classmethod
    def parse(cls, data: bytes, capacity_bytes: int) -> "State | None":
        """The state, or None when it was read while it was being written.

        Raises:
            BadRing: it contradicts itself.
        """
        if len(data) != STATE_BYTES or zlib.crc32(data[: _STATE.size]) != _CRC.unpack_from(data, _STATE.size)[0]:
            return None
        state = cls(*_STATE.unpack_from(data))
        if not 0 <= state.head - state.tail <= capacity_bytes:
            raise BadRing(f"head {state.head} and tail {state.tail} in {capacity_bytes} bytes")
        return state


class Record(NamedTuple):
    """What precedes each packet: enough to find one without decoding the others."""

    position: int
    pts_ns: int
    packet_index: int
    body_bytes: int
    crc: int
    track: Track
    key: bool

    @property
    def end(self) -> int:
        return self.position + RECORD_BYTES + self.body_bytes

    @property
    def is_video_key(self) -> bool:
        return self.key and self.track == "video"

    def pack(self) -> bytes:
        return _RECORD.pack(
            self.position, self.pts_ns, self.packet_index, self.body_bytes, self.crc, _TRACK_CODES[self.track], self.key
        )

    @classmethod
    def parse(cls, data: bytes) -> "Record | None":
        """The record, or None when these bytes are none (overwritten meanwhile, or never one)."""
        if len(data) != RECORD_BYTES:
            return None
        position, pts_ns, index, body_bytes, crc, track, key = _RECORD.unpack(data)
        if track >= len(_TRACKS):
            return None
        return cls(position, pts_ns, index, body_bytes, crc, _TRACKS[track], bool(key))

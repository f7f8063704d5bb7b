"""The file format of a frame ring, version 1, for consumers in any language.

Little endian, natural alignment. One file is one ring:

    byte 0            header page, 4096 bytes
    byte 4096         slot headers, 64 bytes each, padded to a whole page
    slots_offset      slots, each `slot_stride` bytes (whole pages); a picture is the first `frame_bytes` of one

Header (offset type meaning):

      0 u8[8] magic "fmring\\r\\n"          40 u64 superseded_by: epoch of a newer writer, 0 = none
      8 u32   version, 1                   48 u64 closed: 1 once the writer has ended the ring
     12 u32   pixel format (below)         56 u64 frame_bytes
     16 u64   ring id, as in the name      64 u64 slot_stride
     24 u64   epoch                        72 u64 slots_offset
     32 u64   last committed sequence      80 u32 width, pixels
     84 u32   height, pixels               88 u32 slots
     92 u32   delivery: 0 live 1 lossless  96 u64 created_ns, CLOCK_REALTIME
    128 u8[64] stream, NUL padded         192 u8[64] node, NUL padded

Slot header (offset type meaning):

      0 u64 sequence of the picture in the slot; 0 = none, or being written
      8 i64 pts_ns    16 i64 captured_ns    24 i64 monotonic_ns    32 i64 duration_ns
     40 u64 clock: 0 driver 1 rtcp 2 arrival
     48 u8 matrix  49 u8 primaries  50 u8 transfer (codes of H.273)  51 u8 range: 0 unspecified 1 limited 2 full;
        all four 0: nothing is said

Pixel formats, libav's; rows are tightly packed, planes follow one another:

    1 yuv420p   2 nv12        3 bgr24 (3 bytes a pixel)   4 rgb24 (3 bytes a pixel)   5 gray
    6 gray10le  7 gray12le    8 gray16le                  (2 bytes a pixel, the value in the low 10, 12, 16 bits)
    9 bayer_rggb8             10 bayer_bggr8              11 bayer_gbrg8              12 bayer_grbg8
   13 bayer_rggb16le          14 bayer_bggr16le           15 bayer_gbrg16le           16 bayer_grbg16le

Locks (`fcntl` OFD byte-range locks of length 1, never blocking):

  * The writer holds a write lock on byte 0 for life. Ask with F_OFD_GETLK for a *read* lock there: a conflict
    means that the writer lives. (A reader cannot forge it: a read-only descriptor takes no write lock.)
  * The lock byte of slot i is the first byte of its header. To use a picture: take the read lock, then compare
    the slot's sequence with the reference's; equal means that the picture is whole and stays so until the lock is
    released. Not equal, or the lock is refused: it is overwritten. Never look at the sequence before the lock.
  * The writer holds the write lock of a slot from before it sets the sequence to 0 until after it is committed.
"""

import math
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct
from typing import Final, get_args

import numpy as np

from schemas.colours import UNSPECIFIED, ColourSpace, codes, colour_space
from schemas.errors import InvalidValue
from schemas.frames import Clock, Delivery, PixelFormat
from schemas.ids import check_id
from schemas.units import MAX_EDGE_PIXELS
from shared import pixel_formats
from shared.pixel_formats import SampleType
from shared.ring.errors import BadRing

if sys.byteorder != "little":
    raise ImportError("frame rings are little endian and are read in place; this machine is big endian")

MAGIC: Final = b"fmring\r\n"  # CR LF: a copy in text mode is noticed
VERSION: Final = 1
PAGE_BYTES: Final = 4096
HEADER_BYTES: Final = PAGE_BYTES
SLOT_HEADER_BYTES: Final = 64  # one cache line: writer and readers of neighbouring slots do not share one
MIN_SLOTS: Final = 2  # one to read while the other is written
MAX_SLOTS: Final = 256  # bounds what a corrupt header can ask a reader to map

WRITER_LOCK_OFFSET: Final = 0
LAST_SEQUENCE_WORD: Final = 32 // 8  # words are u64: an aligned store is seen whole by every process
SUPERSEDED_BY_OFFSET: Final = 40
SUPERSEDED_BY_WORD: Final = SUPERSEDED_BY_OFFSET // 8
CLOSED_WORD: Final = 48 // 8

SLOT_TIMES: Final = Struct("<qqqqQI")  # at byte 8 of a slot header, with the colours
SLOT_TIMES_OFFSET: Final = 8

_HEADER: Final = Struct("<8sIIQQQQQQQQIIIIQ24x64s64s")
_PIXEL_FORMATS: Final[tuple[PixelFormat, ...]] = (
    "yuv420p", "nv12", "bgr24", "rgb24", "gray", "gray10le", "gray12le", "gray16le",
    "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8",
    "bayer_rggb16le", "bayer_bggr16le", "bayer_gbrg16le", "bayer_grbg16le",
)  # fmt: skip
"""By their codes in the file, which never change."""
_DELIVERIES: Final[tuple[Delivery, ...]] = ("live", "lossless")
_KEPT_COLOURS: Final = 64  # a node's streams have a few; damaged rings may hold anything
CLOCK_CODES: Final[dict[str, int]] = {clock: code for code, clock in enumerate(get_args(Clock))}


@lru_cache(_KEPT_COLOURS)
def colour_word(space: ColourSpace) -> int:
    """The four bytes of a slot's colours."""
    if space == UNSPECIFIED:
        return 0
    matrix, colour_range, primaries, transfer = codes(space)
    return matrix | primaries << 8 | transfer << 16 | colour_range << 24


@lru_cache(_KEPT_COLOURS)
def colours_of_word(word: int) -> ColourSpace:
    """What a slot's four bytes say; codes that mean nothing say nothing."""
    if not word:
        return UNSPECIFIED
    matrix, primaries, transfer, colour_range = word.to_bytes(4, "little")
    return colour_space(matrix, colour_range, primaries, transfer)


def round_up_to_page(length_bytes: int) -> int:
    return -(-length_bytes // PAGE_BYTES) * PAGE_BYTES


def slot_header_offset(slot: int) -> int:
    """Byte offset of a slot's header, which is also its lock byte."""
    return HEADER_BYTES + slot * SLOT_HEADER_BYTES


@dataclass(frozen=True)
class RingGeometry:
    """What every picture of a ring looks like, rows tightly packed.

    Raises:
        InvalidValue: unknown pixel format, an edge out of range, or an odd one in a 4:2:0 format.
    """

    pixel_format: PixelFormat
    width: int
    height: int
    frame_bytes: int = field(init=False, compare=False)
    array_shape: tuple[int, ...] = field(init=False, compare=False)
    """(height * 3 / 2, width) yuv420p and nv12, (height, width, 3) bgr24 and rgb24, (height, width) gray and bayer."""
    array_dtype: SampleType = field(init=False, compare=False, repr=False)
    """uint16 for samples of more than 8 bits, else uint8."""

    def __post_init__(self) -> None:
        if self.pixel_format not in _PIXEL_FORMATS:
            raise InvalidValue("pixel_format", self.pixel_format, f"use one of {', '.join(_PIXEL_FORMATS)}")
        subsampled = self.pixel_format in pixel_formats.SUBSAMPLED
        # A cell of a mosaic is 2x2, and less than one ends the process of whoever converts it: libav aborts.
        fewest = 2 if self.pixel_format in pixel_formats.MOSAICS else 1
        for name, edge in (("width", self.width), ("height", self.height)):
            if not fewest <= edge <= MAX_EDGE_PIXELS or (subsampled and edge % 2):
                even = ", even" if subsampled else ""
                raise InvalidValue(name, edge, f"use {fewest} to {MAX_EDGE_PIXELS} pixels{even}")
        shape = pixel_formats.array_shape(self.pixel_format, self.width, self.height)
        dtype = pixel_formats.sample_type(self.pixel_format)
        object.__setattr__(self, "array_shape", shape)
        object.__setattr__(self, "array_dtype", dtype)
        object.__setattr__(self, "frame_bytes", math.prod(shape) * (1 if dtype is np.uint8 else 2))


@dataclass(frozen=True)
class RingHeader:
    """The header page of a ring, checked."""

    stream: str
    node: str
    epoch: int
    ring_id: int
    geometry: RingGeometry
    slots: int
    delivery: Delivery = "live"
    created_ns: int = 0
    last_sequence: int = 0
    superseded_by: int = 0
    closed: bool = False

    @property
    def name(self) -> str:
        return f"{self.stream}.{self.epoch}.{self.ring_id:016x}.ring"

    @property
    def slot_stride(self) -> int:
        return round_up_to_page(self.geometry.frame_bytes)

    @property
    def slots_offset(self) -> int:
        return HEADER_BYTES + round_up_to_page(self.slots * SLOT_HEADER_BYTES)

    @property
    def file_bytes(self) -> int:
        return self.slots_offset + self.slots * self.slot_stride

    def slot_offset(self, slot: int) -> int:
        return self.slots_offset + slot * self.slot_stride

    def pack(self) -> bytes:
        """The header as it stands at the start of the file."""
        geometry = self.geometry
        return _HEADER.pack(
            MAGIC,
            VERSION,
            1 + _PIXEL_FORMATS.index(geometry.pixel_format),
            self.ring_id,
            self.epoch,
            self.last_sequence,
            self.superseded_by,
            int(self.closed),
            geometry.frame_bytes,
            self.slot_stride,
            self.slots_offset,
            geometry.width,
            geometry.height,
            self.slots,
            _DELIVERIES.index(self.delivery),
            self.created_ns,
            self.stream.encode(),
            self.node.encode(),
        )

    @classmethod
    def parse(cls, page: bytes, file_bytes: int) -> "RingHeader":
        """Check a header page against the size of the file it is from.

        Nothing in it is believed: every offset is computed from the geometry and must agree with what is written.

        Raises:
            BadRing: names what is wrong.
        """
        if len(page) < _HEADER.size:
            raise BadRing(f"a ring starts with {_HEADER.size} bytes of header, this file has {len(page)}")
        (
            magic,
            version,
            pixel_format_code,
            ring_id,
            epoch,
            last_sequence,
            superseded_by,
            closed,
            frame_bytes,
            slot_stride,
            slots_offset,
            width,
            height,
            slots,
            delivery_code,
            created_ns,
            stream,
            node,
        ) = _HEADER.unpack_from(page)
        if magic != MAGIC or version != VERSION:
            raise BadRing(f"not a ring of version {VERSION}: magic {magic!r}, version {version}")
        if not 1 <= pixel_format_code <= len(_PIXEL_FORMATS) or delivery_code >= len(_DELIVERIES):
            raise BadRing(f"unknown pixel format {pixel_format_code} or delivery {delivery_code}")
        if not MIN_SLOTS <= slots <= MAX_SLOTS:
            raise BadRing(f"{slots} slots; a ring has {MIN_SLOTS} to {MAX_SLOTS}")
        try:
            header = cls(
                stream=check_id(stream.rstrip(b"\0").decode("ascii"), "stream"),
                node=check_id(node.rstrip(b"\0").decode("ascii"), "node"),
                epoch=epoch,
                ring_id=ring_id,
                geometry=RingGeometry(_PIXEL_FORMATS[pixel_format_code - 1], width, height),
                slots=slots,
                delivery=_DELIVERIES[delivery_code],
                created_ns=created_ns,
                last_sequence=last_sequence,
                superseded_by=superseded_by,
                closed=bool(closed),
            )
        except ValueError as error:  # InvalidValue and UnicodeDecodeError are both one
            raise BadRing(str(error)) from None
        written = (frame_bytes, slot_stride, slots_offset, file_bytes)
        computed = (header.geometry.frame_bytes, header.slot_stride, header.slots_offset, header.file_bytes)
        if written != computed:
            raise BadRing(f"frame bytes, slot stride, slots offset, file size are {written}, must be {computed}")
        return header

"""What the fragments of an MP4 file hold of its pictures, read from the boxes themselves (ISO/IEC 14496-12, 8.8)."""

import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from schemas.units import NS_PER_SECOND

VIDEO_CLOCK_HZ: Final = 90_000
"""Of the pictures' track, as `shared.media.mux` sets it."""
_BOX_HEADER_BYTES = 8
_LARGE_BOX_BYTES = 16
# A fragment of 10 s at 240 pictures/s with sound lists 3,000 samples of 16 bytes; what claims more is damaged.
_MAX_MOOF_BYTES = 4 << 20
_MAX_SAMPLES = 100_000
_VIDEO_TRACK: Final = 1  # the muxer is given pictures first
_NOT_KEY = 0x0001_0000  # sample_is_non_sync_sample
_FULL_BOX_BYTES = 4


class Sample(NamedTuple):
    """One picture of a fragment, in the file's order."""

    pts_ns: int
    """On the track's own clock; the file's may begin elsewhere."""
    duration_ns: int
    key: bool


class Fragment(NamedTuple):
    offset: int
    """Of its first byte in the file."""
    end: int
    samples: tuple[Sample, ...]


def boxes(descriptor: int, position: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each whole box from `position` on."""
    end = os.fstat(descriptor).st_size
    while position + _BOX_HEADER_BYTES <= end:
        header = os.pread(descriptor, _LARGE_BOX_BYTES, position)
        size = int.from_bytes(header[:4], "big")
        if size == 1 and len(header) == _LARGE_BOX_BYTES:
            size = int.from_bytes(header[8:], "big")
        if size < _BOX_HEADER_BYTES or position + size > end:
            return
        yield header[4:8], position, position + size
        position += size


def fragments(descriptor: int, position: int = 0) -> Iterator[Fragment]:
    """Whole fragments from `position` on, which is where one ends or the file begins; a damaged one ends it."""
    moof: tuple[int, tuple[Sample, ...]] | None = None
    for kind, begin, end in boxes(descriptor, position):
        if kind == b"moof":
            if end - begin > _MAX_MOOF_BYTES:
                return
            try:
                moof = begin, tuple(_pictures(os.pread(descriptor, end - begin, begin)))
            except struct.error:  # a box that is shorter than what it says is in it
                return
        elif kind == b"mdat" and moof is not None:
            yield Fragment(moof[0], end, moof[1])
            moof = None


def _inner(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content of each box in `data[start:end]`."""
    while start + _BOX_HEADER_BYTES <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < _BOX_HEADER_BYTES or start + size > end:
            return
        yield kind, start + _BOX_HEADER_BYTES, start + size
        start += size


def _pictures(moof: bytes) -> Iterator[Sample]:
    for kind, start, end in _inner(moof, _BOX_HEADER_BYTES, len(moof)):
        if kind != b"traf":
            continue
        defaults, dts = _Defaults(), 0
        for inner, begin, _ in _inner(moof, start, end):
            if inner == b"tfhd":
                defaults = _Defaults.parse(moof, begin)
                if defaults.track != _VIDEO_TRACK:
                    break
            elif inner == b"tfdt":
                dts = struct.unpack_from(">Q" if moof[begin] else ">I", moof, begin + _FULL_BOX_BYTES)[0]
            elif inner == b"trun":
                for sample, duration in _run(moof, begin, defaults, dts):
                    yield sample
                    dts += duration


class _Defaults(NamedTuple):
    """Of a track fragment header (8.8.7)."""

    track: int = 0
    duration: int = 0
    flags: int = 0

    @classmethod
    def parse(cls, data: bytes, start: int) -> "_Defaults":
        flags, track = struct.unpack_from(">II", data, start)
        position, found = start + 8, {}
        for bit, size in ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4), (0x20, 4)):
            if flags & bit:
                found[bit] = int.from_bytes(data[position : position + size], "big")
                position += size
        return cls(track, found.get(0x8, 0), found.get(0x20, 0))


def _run(data: bytes, start: int, defaults: _Defaults, dts: int) -> Iterator[tuple[Sample, int]]:
    """The samples of a track run (8.8.8), each with its duration in ticks."""
    flags, count = struct.unpack_from(">II", data, start)
    if count > _MAX_SAMPLES:
        raise struct.error
    position = start + 8 + (4 if flags & 0x1 else 0)
    first_flags = None
    if flags & 0x4:
        first_flags = struct.unpack_from(">I", data, position)[0]
        position += 4
    for number in range(count):
        duration, sample_flags, shift = defaults.duration, defaults.flags, 0
        if flags & 0x100:
            duration = struct.unpack_from(">I", data, position)[0]
            position += 4
        if flags & 0x200:
            position += 4
        if flags & 0x400:
            sample_flags = struct.unpack_from(">I", data, position)[0]
            position += 4
        if flags & 0x800:  # unsigned in version 0, where libav writes no negative ones
            shift = struct.unpack_from(">i", data, position)[0]
            position += 4
        if number == 0 and first_flags is not None:
            sample_flags = first_flags
        yield Sample(_nanoseconds(dts + shift), _nanoseconds(duration), not sample_flags & _NOT_KEY), duration
        dts += duration


def _nanoseconds(ticks: int) -> int:
    return (ticks * NS_PER_SECOND + VIDEO_CLOCK_HZ // 2) // VIDEO_CLOCK_HZ

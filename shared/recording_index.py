"""The index beside a recorded file: which picture is where in it, and when it was captured.

`<file>.idx` is a header, one line of JSON filled up with spaces to a multiple of 64 bytes and ended by a newline, and
then one record of 64 bytes for each picture, in the file's order, all numbers little-endian:

| bytes | type | name | meaning |
|---|---|---|---|
| 0-7 | u64 | sequence | the frame's number in its stream |
| 8-15 | u64 | epoch | the writer of the stream's frames; sequence counts within it |
| 16-23 | u64 | run | the producer of the packets |
| 24-31 | u64 | index | the packet's number within the run; the next one's is one more |
| 32-39 | i64 | pts_ns | when it is shown, from the file's start |
| 40-47 | i64 | captured_ns | when it was captured, CLOCK_REALTIME |
| 48-55 | u64 | offset | where in the file the fragment, cluster or packet begins that it is in |
| 56-59 | u32 | duration_ns | how long it is shown; 0: not known |
| 60-63 | u32 | flags | 1: key picture; 2: identity and capture time are estimated, after a crash |

Records are appended when what they describe is in the file, never before, so an index is at most behind its file. A
reader that comes while it is written ignores what is left of a record at the end.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

VERSION: Final = 1
SUFFIX: Final = ".idx"
KEY: Final = 1
ESTIMATED: Final = 2
DEMUXERS: Final = {"mp4": "mp4", "ts": "mpegts", "mkv": "matroska"}
"""By the format of a recording, which is the ending of its name too; a file is opened as nothing else."""

RECORD: Final = np.dtype(
    [
        ("sequence", "<u8"),
        ("epoch", "<u8"),
        ("run", "<u8"),
        ("index", "<u8"),
        ("pts_ns", "<i8"),
        ("captured_ns", "<i8"),
        ("offset", "<u8"),
        ("duration_ns", "<u4"),
        ("flags", "<u4"),
    ]
)
Records = npt.NDArray[np.void]
"""One-dimensional, of dtype `RECORD`."""

# Nothing a publisher writes is longer; what has no newline by then is no index.
_MAX_HEADER_BYTES = 16_384
_FILE_MODE = 0o640


class BadIndex(ValueError):
    """A file is no index, or one of a later version."""


class IndexHeader(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is the same for the whole file. Unknown fields are ignored."""

    version: int
    stream: str
    output: str
    rendition: str
    node: str
    format: str
    codec: str
    width: int
    height: int
    start_ns: int
    """When its first picture was captured, CLOCK_REALTIME."""
    tracks: tuple[str, ...] = ("video",)
    """Of the file, in its order; only pictures are indexed."""
    first_sequence: int = 0
    """Of the first picture, as are the following: what a crash has left without a record can be told from them."""
    first_epoch: int = 0
    first_run: int = 0
    first_index: int = 0
    time_base_ns: int = 1
    """Of `pts_ns` and `captured_ns`."""


class Index(NamedTuple):
    header: IndexHeader
    records: Records


class IndexSummary(NamedTuple):
    """What a list of files needs, read without the records between."""

    header: IndexHeader
    pictures: int
    start_ns: int
    """Capture of the first picture, CLOCK_REALTIME."""
    end_ns: int
    """Capture of the last picture plus its duration; equal to `start_ns` when there is none."""


def index_path(file: Path) -> Path:
    """Of the index beside a recorded file."""
    return file.with_name(file.name + SUFFIX)


def read_index(path: Path, first: int = 0, count: int = -1) -> Index:
    """The header and `count` records from number `first` on, all by default; blocks. `path`: of the index itself.

    Raises:
        OSError: it cannot be read.
        BadIndex: it is none.
    """
    with path.open("rb", buffering=0) as file:
        header, body_offset = _read_header(file.fileno(), path)
        there = max(0, os.fstat(file.fileno()).st_size - body_offset) // RECORD.itemsize
        wanted = max(0, there - first) if count < 0 else min(count, max(0, there - first))
        # Read, not mapped: an index is cut when a recording is resumed, and a map would be cut under its reader.
        data = os.pread(file.fileno(), wanted * RECORD.itemsize, body_offset + first * RECORD.itemsize)
    return Index(header, np.frombuffer(data, RECORD, count=len(data) // RECORD.itemsize))


def read_summary(path: Path) -> IndexSummary:
    """The header, and what the first and the last record tell; blocks. `path`: of the index itself.

    Raises:
        OSError: it cannot be read.
        BadIndex: it is none.
    """
    with path.open("rb", buffering=0) as file:
        header, body_offset = _read_header(file.fileno(), path)
        there = max(0, os.fstat(file.fileno()).st_size - body_offset) // RECORD.itemsize
        if not there:
            return IndexSummary(header, 0, header.start_ns, header.start_ns)
        ends = [
            np.frombuffer(os.pread(file.fileno(), RECORD.itemsize, body_offset + number * RECORD.itemsize), RECORD)
            for number in (0, there - 1)
        ]
    if any(len(end) != 1 for end in ends):  # cut under our hands
        return IndexSummary(header, 0, header.start_ns, header.start_ns)
    start, last = ends[0][0], ends[1][0]
    return IndexSummary(header, there, int(start["captured_ns"]), int(last["captured_ns"]) + int(last["duration_ns"]))


class IndexAppender:
    """Writes one index. Belongs to one thread; nothing is kept in memory."""

    def __init__(self, path: Path, header: IndexHeader) -> None:
        """Begin an index; one that is there is replaced.

        Raises:
            OSError: the file system refuses.
        """
        line = msgspec.json.encode(header)
        padding = -(len(line) + 1) % RECORD.itemsize
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, _FILE_MODE)
        self._end = len(line) + padding + 1
        try:
            self._write(line + b" " * padding + b"\n")
        except OSError:
            self.close()
            path.unlink(missing_ok=True)
            raise

    def append(self, records: Records) -> None:
        """Add records; all of them, or none.

        Raises:
            OSError: the file system refuses.
        """
        data = records.tobytes()
        try:
            self._write(data)
        except OSError:
            os.ftruncate(self._fd, self._end)  # giving back needs no room
            raise
        self._end += len(data)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # a disk that fills up takes a part first; the next call tells why
            view = view[os.write(self._fd, view) :]


def extend_index(path: Path, records: Records) -> None:
    """Add records to an index that is there, after what may be left of half a record; blocks.

    Raises:
        OSError: it cannot be changed.
        BadIndex: it is none.
    """
    with path.open("r+b", buffering=0) as file:
        _, body_offset = _read_header(file.fileno(), path)
        size = os.fstat(file.fileno()).st_size
        end = size - (size - body_offset) % RECORD.itemsize
        os.pwrite(file.fileno(), records.tobytes(), end)


def cut_index(path: Path, pictures: int) -> None:
    """Keep the first `pictures` records; blocks.

    Raises:
        OSError: it cannot be changed.
        BadIndex: it is none.
    """
    with path.open("r+b", buffering=0) as file:
        _, body_offset = _read_header(file.fileno(), path)
        end = body_offset + pictures * RECORD.itemsize
        if os.fstat(file.fileno()).st_size > end:
            file.truncate(end)


def _read_header(fd: int, path: Path) -> tuple[IndexHeader, int]:
    line, newline, _ = os.pread(fd, _MAX_HEADER_BYTES, 0).partition(b"\n")
    try:
        if not newline:
            raise BadIndex(f"{path}: no index of a recording")
        header = msgspec.json.decode(line, type=IndexHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadIndex(f"{path}: no index of a recording: {error}") from None
    if header.version != VERSION:
        raise BadIndex(f"{path}: version {header.version}; this publisher knows {VERSION}")
    return header, len(line) + 1

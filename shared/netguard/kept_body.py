"""A body that comes once and in order, read anywhere: what has come is kept in a file without a name.

For media behind servers that know no ranges. An MP4 whose index stands at its end can be played no other way, and what
is played again need not come again.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import BadRequest, OutOfSpace, Unavailable
from shared.netguard.http_reader import HttpReader

_READ_BYTES: Final = 256 * 1024
_BOX_HEADER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Keep:
    """Where bodies are kept, and how much of one at most."""

    folder: Path
    max_bytes: int
    min_free_bytes: int = 0
    """Of the disk, which others write to as well."""


class KeptBody:
    """A file-like object over an `HttpReader` that cannot seek. One thread at a time; errors are the reader's."""

    def __init__(self, reader: HttpReader, keep: Keep) -> None:
        """Raises:
        Unavailable: no file can be made in the folder.
        """
        self._reader, self._keep = reader, keep
        self._position = 0
        try:
            self._file = tempfile.TemporaryFile(dir=keep.folder, buffering=0)  # noqa: SIM115 - ends with this object
        except OSError as error:
            raise Unavailable(f"{reader.what}: cannot be kept in {keep.folder} ({error.strerror})") from None
        self._kept = 0
        self._whole = False

    @property
    def name(self) -> str:
        return self._reader.name

    @property
    def endless(self) -> bool:
        """The server tells no length. It may still be a file."""
        return self._reader.endless

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; the next read fetches what is missing up to there."""
        base = {0: 0, 1: self._position}.get(whence)
        if base is None:
            base = self._size()
        if base + offset < 0:
            raise BadRequest(f"{self._reader.what}: cannot seek there")
        self._position = base + offset
        return self._position

    def read(self, size: int = _READ_BYTES) -> bytes:
        """Up to `size` bytes; empty at the end.

        Raises:
            MeshError: the reader's; BadRequest: it is larger than what is kept; Unavailable: the disk is full.
        """
        while self._position >= self._kept and not self._whole:
            self._fetch()
        if self._position >= self._kept or size <= 0:
            return b""
        self._file.seek(self._position)
        data = self._file.read(min(size, self._kept - self._position)) or b""
        self._position += len(data)
        return data

    def _size(self) -> int:
        while self._reader.size_bytes is None and not self._whole:  # nobody can tell before its end has come
            self._fetch()
        return self._kept if self._whole else self._reader.size_bytes or 0

    def _fetch(self) -> None:
        data = self._reader.read(_READ_BYTES)
        if not data:
            self._whole = True
            return
        if self._kept + len(data) > self._keep.max_bytes:
            raise BadRequest(
                f"{self._reader.what}: its server knows no byte ranges, and of such a file "
                f"{self._keep.max_bytes} bytes are kept at most; use a server that knows ranges"
            )
        self._check_room(len(data))
        try:
            self._file.seek(self._kept)
            written = 0
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        except OSError as error:
            raise Unavailable(f"{self._reader.what}: it cannot be kept on the disk ({error.strerror})") from None
        self._kept += len(data)

    def _check_room(self, size: int) -> None:
        disk = os.fstatvfs(self._file.fileno())
        free_bytes, needed_bytes = disk.f_bavail * disk.f_frsize, self._keep.min_free_bytes + size
        if free_bytes < needed_bytes:
            what = f"{self._reader.what}: disk of {self._keep.folder}"
            raise OutOfSpace(what, needed_bytes, free_bytes, "make room, or use a server that knows byte ranges")


def may_keep(reader: HttpReader, keep: Keep) -> bool:
    """Whether a body is one to keep: a file, and not too long."""
    if reader.seekable():
        return False
    if reader.size_bytes is None:  # live, but for an MP4 whose pictures are seen to come before their index
        boxes = _boxes(reader.head())
        return boxes[:1] == ["ftyp"] and "mdat" in boxes and "moov" not in boxes
    return reader.size_bytes <= keep.max_bytes


def is_mp4(head: bytes) -> bool:
    """By its first bytes."""
    return _boxes(head)[:1] == ["ftyp"]


def _boxes(head: bytes) -> list[str]:
    """The types of the boxes that begin in it (ISO/IEC 14496-12, 4.2)."""
    found, place = [], 0
    while place + _BOX_HEADER_BYTES <= len(head):
        size = int.from_bytes(head[place : place + 4])
        found.append(head[place + 4 : place + _BOX_HEADER_BYTES].decode("latin-1"))
        if size < _BOX_HEADER_BYTES:  # longer than 32 bits can say, or up to the end
            break
        place += size
    return found

"""The folder of one node's rings: what lies there, who has gone, who is superseded."""

import contextlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.kernel_locks import is_write_locked
from shared.ring.errors import BadRing
from shared.ring.layout import (
    HEADER_BYTES,
    SUPERSEDED_BY_OFFSET,
    WRITER_LOCK_OFFSET,
    RingHeader,
)
from shared.shm_folder import ensure_folder as ensure_folder

_log = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<stream>[a-z0-9-]{1,63})\.(?P<epoch>\d{1,20})\.(?P<ring_id>[0-9a-f]{16})\.ring\Z")
_TEMPORARY_NAME = re.compile(r"\.[a-z0-9-]{1,63}\.\d{1,20}\.[0-9a-f]{16}\.ring\.making\Z")
# O_NONBLOCK: a pipe that was put there must not make us wait for its other end.
_OPEN_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class RingEntry:
    """A ring as tools see it."""

    name: str
    header: RingHeader
    writer_alive: bool


def is_ring_name(name: str) -> bool:
    """Whether a file of this name is a ring: `<stream>.<epoch>.<ring id>.ring`, so never a path elsewhere."""
    return _NAME.match(name) is not None


def open_ring(folder: Path, name: str, flags: int) -> int:
    """A descriptor of a ring file, never of a link, directory or device that took its name.

    Raises:
        OSError: it is not there, or may not be opened.
        BadRing: it is something else than a regular file.
    """
    fd = os.open(folder / name, flags | _OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadRing(f"{name} is not a regular file")
    return fd


def read_header(fd: int) -> RingHeader:
    """The checked header of an open ring file.

    Raises:
        BadRing: not a ring, or not all of its memory is reserved.
    """
    status = os.fstat(fd)
    header = RingHeader.parse(os.pread(fd, HEADER_BYTES, 0), status.st_size)
    # A hole in a file is filled at first touch: with the memory full, that would be a Bus error in the reader.
    if status.st_blocks * 512 < status.st_size:  # st_blocks counts units of 512 bytes, stat(2)
        raise BadRing(f"{status.st_size} bytes long, but only {status.st_blocks * 512} are reserved")
    return header


def list_rings(folder: Path) -> list[RingEntry]:
    """Every well-formed ring in the folder, by name; what is no ring is left out."""
    entries: list[RingEntry] = []
    for name in sorted(_names(folder)):
        if not is_ring_name(name):
            continue
        with _opened(folder, name, os.O_RDONLY) as fd:
            if fd is None:
                continue
            try:
                header = read_header(fd)
            except BadRing as error:
                _log.warning("%s is not a usable ring: %s", name, error)
                continue
            entries.append(RingEntry(name, header, is_write_locked(fd, WRITER_LOCK_OFFSET)))
    return entries


def sweep(folder: Path) -> list[str]:
    """Remove the rings whose writer is gone; returns their names.

    Safe at any time for whoever may write there. A ring gets its name only after its writer has locked it, and
    names are never used twice, so a named ring without a lock is a dead one. Readers keep what they have open.
    """
    removed: list[str] = []
    for name in _names(folder):
        if not is_ring_name(name) and _TEMPORARY_NAME.match(name) is None:
            continue
        with _opened(folder, name, os.O_RDONLY) as fd:
            if fd is None or is_write_locked(fd, WRITER_LOCK_OFFSET):
                continue
            with contextlib.suppress(FileNotFoundError):  # somebody else swept it
                os.unlink(folder / name)
                removed.append(name)
    return removed


def newest_epoch(folder: Path, stream: str) -> int:
    """The highest epoch of the stream's rings in the folder; 0 when there are none."""
    return max((epoch for _, epoch in _rings_of(folder, stream)), default=0)


def written_rings(folder: Path, stream: str) -> list[RingHeader]:
    """Headers of the stream's rings that somebody writes now."""
    found: list[RingHeader] = []
    for name, _ in _rings_of(folder, stream):
        with _opened(folder, name, os.O_RDONLY) as fd:
            if fd is None or not is_write_locked(fd, WRITER_LOCK_OFFSET):
                continue
            with contextlib.suppress(BadRing):
                found.append(read_header(fd))
    return found


def supersede_older(folder: Path, stream: str, epoch: int) -> list[str]:
    """Tell writers of the stream with an older epoch that they have lost; returns the names of their rings."""
    marked: list[str] = []
    for name, older in _rings_of(folder, stream):
        if older >= epoch:
            continue
        with _opened(folder, name, os.O_RDWR) as fd:
            if fd is None or os.fstat(fd).st_size < HEADER_BYTES:
                continue
            os.pwrite(fd, epoch.to_bytes(8, "little"), SUPERSEDED_BY_OFFSET)
            marked.append(name)
    return marked


def _rings_of(folder: Path, stream: str) -> Iterator[tuple[str, int]]:
    for name in _names(folder):
        match = _NAME.match(name)
        if match is not None and match["stream"] == stream:
            yield name, int(match["epoch"])


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:  # nobody has written a ring on this node yet
        return []


@contextlib.contextmanager
def _opened(folder: Path, name: str, flags: int) -> Iterator[int | None]:
    """A descriptor of the ring file, or None when it went away, is another user's, or is no regular file."""
    try:
        fd = open_ring(folder, name, flags)
    except (OSError, BadRing) as error:
        _log.debug("%s left alone: %s", name, error)
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)

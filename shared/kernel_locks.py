"""Byte-range locks that belong to an open file description (OFD), as `fcntl(2)` of Linux has them.

The kernel drops them when the last descriptor of the description is closed, so a process that dies leaves none,
whatever its container or pid namespace. Two things keep a description open longer than one would think, and both
are avoided here: a memory mapping (so a ring is mapped through a second open of the file), and a fork (so a
forked child closes its copies; locks never survive into it, and using a ring there raises).
"""

import contextlib
import os
from fcntl import F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_UNLCK, F_WRLCK, fcntl
from struct import Struct
from typing import Final
from weakref import WeakSet

# struct flock of 64-bit offsets: l_type, l_whence, l_start, l_len, l_pid (0 for OFD locks).
_FLOCK: Final = Struct("@hhqqi4x")
TO_FILE_END: Final = 0


def read_lock(offset: int) -> bytes:
    """The packed request for a read lock on one byte."""
    return _FLOCK.pack(F_RDLCK, os.SEEK_SET, offset, 1, 0)


def write_lock(offset: int) -> bytes:
    """The packed request for a write lock on one byte."""
    return _FLOCK.pack(F_WRLCK, os.SEEK_SET, offset, 1, 0)


def any_lock(offset: int, length: int) -> bytes:
    """The packed request that conflicts with every lock of others on `length` bytes (`TO_FILE_END`: all)."""
    return _FLOCK.pack(F_WRLCK, os.SEEK_SET, offset, length, 0)


def unlock(offset: int, length: int = 1) -> bytes:
    """The packed request that gives up whatever lock there is on `length` bytes (`TO_FILE_END`: all)."""
    return _FLOCK.pack(F_UNLCK, os.SEEK_SET, offset, length, 0)


class LockFile:
    """Owns one descriptor through which locks are taken; -1 once closed, or in a forked child."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        _open_files.add(self)

    def try_lock(self, request: bytes) -> bool:
        """Take a lock without waiting; False when somebody holds one that conflicts."""
        try:
            fcntl(self.fd, F_OFD_SETLK, request)
        except BlockingIOError:
            return False
        return True

    def unlock(self, request: bytes) -> None:
        if self.fd >= 0:  # a lease may outlive its reader, or be carried into a forked child
            fcntl(self.fd, F_OFD_SETLK, request)

    def reopen(self, flags: int) -> int:
        """Another open file description of the same file, linked or not; the caller closes it."""
        return os.open(f"/proc/self/fd/{self.fd}", flags | os.O_CLOEXEC)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # nothing to be done about it in a finalizer
            self.close()


def is_write_locked(fd: int, offset: int) -> bool:
    """Whether another open file description holds a write lock on the byte; read locks do not count."""
    answer = fcntl(fd, F_OFD_GETLK, read_lock(offset))
    return bool(_FLOCK.unpack(answer)[0] != F_UNLCK)


def is_read_locked(fd: int, offset: int) -> bool:
    """Whether another open file description holds a read lock on the byte, and none a write lock."""
    answer = fcntl(fd, F_OFD_GETLK, write_lock(offset))
    return bool(_FLOCK.unpack(answer)[0] == F_RDLCK)


def is_locked(fd: int) -> bool:
    """Whether another open file description holds any lock on the file."""
    answer = fcntl(fd, F_OFD_GETLK, any_lock(0, TO_FILE_END))
    return bool(_FLOCK.unpack(answer)[0] != F_UNLCK)


_open_files: "WeakSet[LockFile]" = WeakSet()


def _close_in_child() -> None:
    for file in list(_open_files):
        file.close()


os.register_at_fork(after_in_child=_close_in_child)

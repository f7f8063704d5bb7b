"""Pictures as files below a root, whoever plays tricks with names and links in it.

Every part of a path is opened by itself and no link is followed, so that nothing lands, and nothing is read, outside
of the root, also when a folder is swapped for a link meanwhile. A picture has its name only once it is whole.
"""

import ctypes
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from services.frame_extractor.storage.errors import StorageError

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE: Final = 0o770
_FILE_MODE: Final = 0o640
# O_TMPFILE: unknown to the file system, or (EISDIR, ENOENT) to a kernel that takes it for something else.
_NO_NAMELESS: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_PASSING: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENFILE)
# What a process leaves that is killed in the middle, on file systems that know no nameless files.
_PASSING_NAME: Final = re.compile(r"\.[0-9a-f]{16}\.part")
_LEFT_SECONDS: Final = 3600.0  # no picture takes as long to be written
_MAX_SWEPT_FOLDERS: Final = 1024  # remembered; then some are looked at again
_swept: Final[set[tuple[int, int]]] = set()
_libc: Final = ctypes.CDLL(None, use_errno=True)


def write_file(root: Path, relative: str, data: bytes) -> None:
    """Write `data` to `relative` below `root`, folders and all; over what is there. Blocks.

    Not synced: `settle` does that once for all files of a job. A crash in the middle leaves no half picture.

    Raises:
        StorageError: storage; a link or a file stands in the way, no permission, no room.
    """
    with _explained(root, relative), _parent(root, relative, make=True) as (folder, name):
        _replace(folder, name, data)


def write_first(root: Path, relative: str, data: bytes) -> bool:
    """Write `data`, of a few bytes, to `relative` below `root` unless something is there; whether it was written.

    Raises:
        StorageError: storage; as `write_file`.
    """
    with _explained(root, relative), _parent(root, relative, make=True) as (folder, name):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(name, flags, _FILE_MODE, dir_fd=folder)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return True


def open_file(root: Path, relative: str) -> BinaryIO:
    """The file at `relative` below `root`, to be read.

    Raises:
        StorageError: storage; it is not there, or no file.
    """
    with _explained(root, relative), _parent(root, relative, make=False) as (folder, name):
        # Without O_NONBLOCK a FIFO of that name would hold us until somebody writes to it.
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "is no regular file")
        return os.fdopen(handle, "rb")


def settle(root: Path) -> None:
    """Have what was written below `root` survive a loss of power; blocks while the disk writes.

    Once for a job rather than once for a picture: 5 ms each on a good SSD, ten times that on a memory card.

    Raises:
        StorageError: storage; the disk could not write it.
    """
    with _explained(root, ""):
        folder = os.open(root, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
        try:
            if _libc.syncfs(folder) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(folder)


@contextmanager
def _parent(root: Path, relative: str, *, make: bool) -> Iterator[tuple[int, str]]:
    """The folder that `relative` names a file in, open, and that name."""
    *folders, name = relative.split("/")
    if make:
        root.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    folder = os.open(root, _FOLDER_FLAGS & ~os.O_NOFOLLOW)  # the root itself may be a link: who set it up says where
    try:
        for part in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, _FOLDER_MODE, dir_fd=folder)
            inner = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)


def _replace(folder: int, name: str, data: bytes) -> None:
    # Not made from `name`, which may be as long as a name can be.
    _sweep(folder)
    passing = f".{secrets.token_hex(8)}.part"
    handle, nameless = _create(folder, passing)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if nameless:  # a killed process leaves nothing behind: the name is there for microseconds only
            os.link(f"/proc/self/fd/{handle}", passing, dst_dir_fd=folder, follow_symlinks=True)
        os.rename(passing, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(passing, dir_fd=folder)
        raise
    finally:
        os.close(handle)


def _sweep(folder: int) -> None:
    """Take away what others left, the first time that this process writes to a folder."""
    about = os.fstat(folder)
    key = (about.st_dev, about.st_ino)
    if key in _swept:
        return
    if len(_swept) >= _MAX_SWEPT_FOLDERS:
        _swept.clear()
    _swept.add(key)
    old = time.time() - _LEFT_SECONDS
    for name in os.listdir(folder):
        if _PASSING_NAME.fullmatch(name):
            with suppress(OSError):  # somebody else was quicker
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < old:
                    os.unlink(name, dir_fd=folder)


def _create(folder: int, passing: str) -> tuple[int, bool]:
    try:
        return os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, _FILE_MODE, dir_fd=folder), True
    except OSError as error:
        if error.errno not in _NO_NAMELESS:
            raise
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(passing, flags, _FILE_MODE, dir_fd=folder), False


@contextmanager
def _explained(root: Path, relative: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            reason = "a link or a file stands where a folder or a picture should be"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full; free some space"
        where = root / relative if relative else root
        raise StorageError("storage", f"{where}: {reason}", may_pass=error.errno in _PASSING) from None

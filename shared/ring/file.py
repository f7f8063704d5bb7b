"""How a file of shared memory comes to be: reserved, locked and filled before it has a name."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.errors import OutOfSpace
from shared.kernel_locks import LockFile, write_lock

FILE_MODE: Final = 0o640  # only the writer's user may write: no consumer can damage what is in it
TEMPORARY_SUFFIX: Final = ".making"
_LINK_ATTEMPTS: Final = 5  # only the fallback can lose its file to a sweep, and hardly twice in a row
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EFBIG)
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
_FIX = (
    "enlarge that tmpfs (in compose: FRAMEMESH_SHM_SIZE, see docs/deploy.md; also `ulimit -f`), "
    "or set FRAMEMESH_SHM_DIR to a larger one"
)


def make_locked_file(
    folder: Path,
    name: str,
    *,
    size_bytes: int,
    lock_offset: int,
    what: str,
    fill: Callable[[int], object],
    fix: str = "",
) -> LockFile:
    """A new file under `name`: all its memory reserved, the byte at `lock_offset` write-locked, `fill(fd)` done.

    Made without a name (O_TMPFILE), or where that is not supported under a hidden one, so nobody ever sees a file
    without a lock or half a header; whoever finds a named file without a lock may remove it.

    Raises:
        OutOfSpace: names `what`, the bytes needed and free, and what to change, `fix` first; nothing is left behind.
    """
    for _ in range(_LINK_ATTEMPTS):
        temporary: Path | None = None
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            fd = os.open(folder, flags | os.O_TMPFILE, FILE_MODE)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            temporary = folder / f".{name}{TEMPORARY_SUFFIX}"
            fd = os.open(temporary, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
        file = LockFile(fd)
        try:
            if not file.try_lock(write_lock(lock_offset)):
                raise BlockingIOError(f"{name} is locked although it has only just been made")
            os.fchmod(fd, FILE_MODE)  # the umask may have taken the group's right to read
            _reserve(fd, folder, size_bytes, what, fix)
            fill(fd)
            if temporary is None:
                _link(fd, folder, name)
            else:
                os.rename(temporary, folder / name)
        except FileNotFoundError:  # swept between its creation and its lock
            file.close()
            continue
        except BaseException:
            file.close()
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise
        return file
    raise FileNotFoundError(f"{folder} is being removed, or swept without end, while a ring is made there")


def _reserve(fd: int, folder: Path, size_bytes: int, what: str, fix: str) -> None:
    try:
        os.posix_fallocate(fd, 0, size_bytes)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        space = os.statvfs(folder)
        raise OutOfSpace(f"{what} in {folder}", size_bytes, space.f_bavail * space.f_frsize, fix + _FIX) from error


def _link(fd: int, folder: Path, name: str) -> None:
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # linkat(2) with AT_SYMLINK_FOLLOW names an unnamed file; Python takes that path when a dir_fd is given.
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder_fd, follow_symlinks=True)
    finally:
        os.close(folder_fd)

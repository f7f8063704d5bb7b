"""Files that are there whole or not at all, whatever dies while they are written."""

import contextlib
import os
from pathlib import Path

NEW_SUFFIX = ".new"
"""Of what is being written, behind a dot and its name."""
_MODE = 0o666  # less what the umask takes, as of files that `open` makes


def write_whole(
    path: Path, data: bytes, *, mode: int = _MODE, sync: bool = False, owner_of: Path | None = None
) -> None:
    """Make or replace `path` in one step; one writer of it at a time. Blocks.

    `sync`: it is on the disk itself when this returns, its name too, for what must outlive the machine's power.
    `owner_of`: where we are root, the file gets the owner and group of that one.

    Raises: OSError: nothing has changed; or, with `sync`, the new file is there and may not outlive the power.
    """
    half = path.with_name(f".{path.name}{NEW_SUFFIX}")
    half.unlink(missing_ok=True)  # of a writer that was killed
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            if owner_of is not None and os.geteuid() == 0:
                about = owner_of.stat()
                os.fchown(descriptor, about.st_uid, about.st_gid)
            if sync:
                file.flush()
                os.fsync(descriptor)
        os.replace(half, path)
    except OSError:
        with contextlib.suppress(OSError):
            half.unlink()
        raise
    if sync:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

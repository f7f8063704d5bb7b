"""A process's place among the instances of its service on a node, held by a kernel lock.

Of most services there is one instance on a node. Of those whose entry in the table of services allows more, each has a
number from 1 on, and they share the node's work; see `shared.share`. The kernel frees the place of a process that dies,
in any container and pid namespace, so whoever is started again finds its own.
"""

import os
from pathlib import Path
from typing import Final, Self

from schemas.errors import Conflict, InvalidValue, Unavailable
from shared.kernel_locks import LockFile, write_lock
from shared.shm_folder import ensure_folder

ANY: Final = "any"
"""A wish: the lowest place that is free."""
MOST_PLACES: Final = 64  # bytes 0 to 63 of the lock file; what lies behind them is of `shared.share`
_OPEN_ATTEMPTS: Final = 8  # each time somebody took the file away between open and lock


class Place:
    """Belongs to the process until it is closed, or the process ends."""

    def __init__(self, file: LockFile, number: int, most: int) -> None:
        self.file = file
        self.number = number
        """From 1 on; its byte in the lock file is one less."""
        self.most = most
        """How many there may be."""

    @classmethod
    def take(cls, folder: Path, service: str, node: str, wish: str, most: int) -> Self:
        """Take the place of this number, or with `ANY` the lowest free one of `most`.

        Raises:
            InvalidValue: there is no such place.
            Conflict: somebody has it.
            Unavailable: the folder cannot be written.
        """
        numbers = range(1, most + 1) if wish == ANY else (int(wish),)
        variable = f"FRAMEMESH_{service.upper().replace('-', '_')}_INSTANCE"
        if numbers[-1] > most:
            fix = f"at most {most} share a node" if most > 1 else "it runs once on a node; leave it out"
            raise InvalidValue(variable, wish, f"{service}: {fix}")
        try:
            ensure_folder(folder)
            for _ in range(_OPEN_ATTEMPTS):
                found = cls._try(folder / f".{service}.{node}.lock", numbers, most)
                if found is not None:
                    return found
        except OSError as error:
            raise Unavailable(f"shared-memory folder {folder}: {error.strerror}; set FRAMEMESH_SHM_DIR") from None
        taken = f"{most} times" if wish == ANY and most > 1 else f"as number {wish}" if wish not in (ANY, "1") else ""
        more = f", or share its work with {variable}={ANY}" if most > 1 and wish != ANY else ""
        raise Conflict(
            f"{service} already runs on node {node}{taken and ' '}{taken}; stop it, "
            f"or give this one another FRAMEMESH_NODE{more}"
        )

    @classmethod
    def _try(cls, path: Path, numbers: "range | tuple[int, ...]", most: int) -> Self | None:
        """None: all are taken, or the file is no longer the one of that name."""
        file = LockFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640))
        for number in numbers:
            if file.try_lock(write_lock(number - 1)):
                if _is_named(file.fd, path):
                    return cls(file, number, most)
                break
        file.close()
        return None

    def close(self) -> None:
        self.file.close()


def _is_named(fd: int, path: Path) -> bool:
    """A launcher that ends takes the files of those who are gone away."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False

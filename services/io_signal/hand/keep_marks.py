"""Which outputs are on for a keep time: noted before they are, for the next hand where this one is killed within it.

Of outputs alone whose safe state is to be left as they are: all others are cleared or set at every start anyhow.
"""

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class KeepMarks:
    """Empty files in shared memory, which takes microseconds, and outlives every process."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder, self._node = folder, node

    def _path(self, signal: str) -> Path:
        # As locks are called, which the launcher sweeps when the mesh has ended in order.
        return self._folder / f".io-signal-kept.{self._node}.{signal}.lock"

    def set(self, signal: str) -> None:
        try:
            os.close(os.open(self._path(signal), os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640))
        except OSError as error:  # the command is done all the same
            log.warning("%s: %s", self._path(signal), error.strerror)

    def clear(self, signal: str) -> None:
        with contextlib.suppress(OSError):
            self._path(signal).unlink()

    def is_set(self, signal: str) -> bool:
        return self._path(signal).exists()

"""Files that are read again when they change: tokens, keys, certificates."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import MeshError

logger = logging.getLogger(__name__)

# Nothing tells of a change in every kind of mount (a secret of a container is a link that is moved), so we look.
LOOK_SECONDS = 1.0

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass
class _Watched:
    what: str
    paths: tuple[Path, ...]
    load: Callable[[], None]
    stamp: _Stamp


class FileWatch:
    """Calls `load` when one of its files has changed; a file that is no good changes nothing and is told of once."""

    def __init__(self, tell: Callable[[str, MeshError | None], None] = lambda what, error: None) -> None:
        """`tell(what, error)`: files were read again, or could not be."""
        self._watched: list[_Watched] = []
        self._tell = tell

    def add(self, what: str, paths: Iterable[Path], load: Callable[[], None]) -> None:
        """`load` is called in a thread; it swaps what it has read in one assignment, or raises MeshError.

        The files are looked at here for the first time: call this before they are read.
        """
        kept = tuple(paths)
        self._watched.append(_Watched(what, kept, load, _stamp(kept)))

    async def run(self) -> None:
        """Look for as long as the service lives."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        for watched in self._watched:
            stamp = await asyncio.to_thread(_stamp, watched.paths)
            if stamp == watched.stamp:
                continue
            watched.stamp = stamp
            try:
                await asyncio.to_thread(watched.load)
            except MeshError as error:
                logger.error("%s stays as it was: %s", watched.what, error.message)
                self._tell(watched.what, error)
            else:
                logger.info("%s read again", watched.what)
                self._tell(watched.what, None)


def _stamp(paths: Iterable[Path]) -> _Stamp:
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)

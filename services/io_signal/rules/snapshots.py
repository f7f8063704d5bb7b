"""Picture files that rules have asked for: in a folder of this node, the newest so many."""

import asyncio
import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import Unavailable
from schemas.moments import TakenPicture
from schemas.units import NS_PER_SECOND
from shared.whole_file import write_whole


class Snapshots:
    """Belongs to the event loop; the disk is touched in threads."""

    def __init__(self, folder: Path, most: int) -> None:
        """`most`: files; of one more the oldest is taken away."""
        self._folder, self._most = folder, most
        self._writing = asyncio.Lock()

    async def keep(self, picture: TakenPicture) -> str:
        """Write one; returns its path.

        Raises:
            Unavailable: the disk refuses it.
        """
        async with self._writing:  # two that clean up at once would count each other's files
            try:
                return await asyncio.to_thread(self._write, picture)
            except OSError as error:
                raise Unavailable(f"{self._folder}: {error.strerror}") from None

    def _write(self, picture: TakenPicture) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / _name(picture)
        write_whole(path, picture.data)
        # Names begin with the time, so their order is that of the pictures.
        kept = sorted(item.name for item in os.scandir(self._folder) if not item.name.startswith("."))
        # The one just written stays, however old its picture is: its path is told.
        others = [name for name in kept if name != path.name]
        for name in others[: max(0, len(kept) - self._most)]:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / name).unlink()
        return str(path)


def _name(picture: TakenPicture) -> str:
    seconds, rest_ns = divmod(picture.captured_ns, NS_PER_SECOND)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1_000)
    return f"{at:%Y%m%d-%H%M%S-%f}-{picture.stream}.{picture.format}"

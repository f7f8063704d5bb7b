"""Still pictures of mixes on disk: a service that starts again does not need the servers that they came from."""

import asyncio
import contextlib
import hashlib
import logging
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from schemas.mix_resources import MixActual, MixSpec
from services.cloud_mix_proxy.mixes.stills import StillFile
from shared.desired import Desired
from shared.whole_file import write_whole

log = logging.getLogger(__name__)

MAX_KEPT_BYTES: Final = 512 << 20
"""Of all mixes together, a few thousand logos; what does not fit is fetched again."""
_SWEEP_SECONDS: Final = 1.0  # the mesh may change a hundred times in it
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600  # a picture may be as secret as its address


class KeptStills:
    """A folder for each mix, in it a file for each picture, named by digests of where it is from and of what it is."""

    def __init__(self, folder: Path, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._alone = asyncio.Lock()

    async def read(self, mix: str) -> dict[str, StillFile]:
        """The pictures of a mix by `stills.known_as`; whatever is broken is left out."""
        async with self._alone:
            return await asyncio.to_thread(self._read, mix)

    async def keep(self, mix: str, stills: Mapping[str, StillFile]) -> None:
        """Have these, by `stills.known_as`, and no others of this mix; the log tells of a disk that takes nothing."""
        async with self._alone:
            try:
                await asyncio.to_thread(self._keep, mix, stills)
            except OSError as error:
                log.warning("pictures of %s are not kept, and fetched again after a restart: %s", mix, error.strerror)

    async def run(self, mixes: Desired[MixSpec, MixActual], node: str) -> None:
        """Until cancelled, take away what was kept of mixes that are gone from this node."""
        changed = asyncio.Event()
        changed.set()
        forget = mixes.on_changed(changed.set)
        try:
            while True:
                await changed.wait()
                changed.clear()
                async with self._alone:
                    await asyncio.to_thread(self._sweep, mixes.owned(node))
                await asyncio.sleep(_SWEEP_SECONDS)
        finally:
            forget()

    # -- in a thread -------------------------------------------------------------------------------------------

    def _read(self, mix: str) -> dict[str, StillFile]:
        found = {}
        with contextlib.suppress(OSError):  # none was kept, or the disk is going
            for path in sorted((self._folder / mix).iterdir()):
                known_by, _, digest = path.name.partition("-")
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() == digest:
                    found[known_by] = StillFile(digest, data)
        return found

    def _sweep(self, mixes: Collection[str]) -> None:
        with contextlib.suppress(OSError):  # there is none
            for folder in self._folder.iterdir():
                if folder.name not in mixes:
                    shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, mix: str, stills: Mapping[str, StillFile]) -> None:
        folder = self._folder / mix
        names = {f"{known_by}-{still.digest}": still for known_by, still in stills.items()}
        there = {path.name for path in folder.iterdir()} if folder.exists() else set()
        for name in there - names.keys():
            (folder / name).unlink()
        room = self._max_bytes - sum(path.stat().st_size for path in self._folder.glob("*/*"))
        for name in names.keys() - there:
            data = names[name].data
            room -= len(data)
            if room < 0:
                log.warning("pictures of %s are not kept: %d bytes of them are the limit", mix, self._max_bytes)
                return
            folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            # Who reads it checks its digest, so a disk that forgets costs a fetch and no more.
            write_whole(folder / name, data, mode=_PRIVATE_FILE)

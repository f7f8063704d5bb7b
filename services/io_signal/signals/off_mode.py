"""Off-mode of this node: it outlives the service, in a file under the data folder."""

import asyncio
import logging
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.errors import Unavailable
from shared.whole_file import write_whole

log = logging.getLogger(__name__)


class _Kept(Struct, frozen=True, kw_only=True):
    active: bool
    by: str = ""
    why: str = ""


class OffModeFile:
    """Whether all outputs stay in their safe states."""

    def __init__(self, data_dir: Path, node: str) -> None:
        self._path = data_dir / "io-signal" / f"off-mode.{node}.json"
        self._changing = asyncio.Lock()
        self.active = self._read()

    def _read(self) -> bool:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept).active
        except FileNotFoundError:
            return False
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s: %s; off-mode is taken to be active until it is ended", self._path, error)
            return True

    async def set(self, active: bool, by: str, why: str) -> None:
        """Raises:
        Unavailable: it cannot be written; then it is active, until the service ends.
        """
        async with self._changing:
            self.active = self.active or active  # at once; what ends it is only so once it is written
            await asyncio.to_thread(self._write, _Kept(active=active, by=by, why=why))
            self.active = active

    def _write(self, kept: _Kept) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            write_whole(self._path, msgspec.json.encode(kept), sync=True)  # machines lose their power
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}; set FRAMEMESH_DATA_DIR") from None

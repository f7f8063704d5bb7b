"""Clips that are not finished, on disk: a restart of this service goes on with them, and leaves no half of one."""

import contextlib
import logging
import shutil
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.ids import Id
from schemas.packets import UNREADABLE
from services.publisher.failures import explain_file
from services.publisher.recorded_files import files_in_journals
from shared.recording_index import index_path
from shared.whole_file import NEW_SUFFIX, write_whole

_log = logging.getLogger(__name__)

_ORDER = ".json"
_PACKETS = ".packets"
_STATE = ".state"


class ClipOrder(Struct, frozen=True, kw_only=True):
    """A clip that was asked for."""

    clip: Id
    stream: Id
    start_ns: int
    end_ns: int
    rendition: Id
    to: str
    tries: int = 0
    """Times that its file was begun: this service was killed each time."""


class ClipOrders:
    """In one folder, of each clip its order, the packets set aside for it and what its writer remembers. Blocks.

    The order goes last to disk and first from it: while it is there the clip is not finished.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def packets(self, order: ClipOrder) -> Path:
        """Where packets are set aside."""
        return self._folder / f"{order.clip}{_PACKETS}"

    def state_dir(self, order: ClipOrder) -> Path:
        """Where the writer of the clip remembers its file from the moment that it is there."""
        return self._folder / f"{order.clip}{_STATE}"

    def keep(self, order: ClipOrder) -> None:
        """Raises: Unavailable: the state folder does not take it."""
        path = self._folder / f"{order.clip}{_ORDER}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, msgspec.json.encode(order))
        except OSError as error:
            raise explain_file(error, path) from None

    def forget(self, order: ClipOrder) -> None:
        """It is finished, or given up."""
        with contextlib.suppress(OSError):
            (self._folder / f"{order.clip}{_ORDER}").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.packets(order).unlink(missing_ok=True)
        shutil.rmtree(self.state_dir(order), ignore_errors=True)

    def load(self) -> list[ClipOrder]:
        """What an earlier run has not finished; what it has begun of it is taken away, it is made anew."""
        orders = []
        for path in sorted(self._folder.glob(f"*{_ORDER}")):
            try:
                orders.append(msgspec.json.decode(path.read_bytes(), type=ClipOrder))
            except (OSError, *UNREADABLE) as error:
                _log.warning("a clip that was waited for is not readable and is given up: %s: %s", path, error)
                with contextlib.suppress(OSError):
                    path.unlink()
        for order in orders:
            self._take_away_begun(order)
        known = {order.clip for order in orders}
        for path in [*self._folder.glob(f"*{_PACKETS}"), *self._folder.glob(f".*{NEW_SUFFIX}")]:
            if path.stem not in known:
                with contextlib.suppress(OSError):
                    path.unlink()
        for path in self._folder.glob(f"*{_STATE}"):
            if path.stem not in known:
                shutil.rmtree(path, ignore_errors=True)
        return orders

    def _take_away_begun(self, order: ClipOrder) -> None:
        for file in files_in_journals(self.state_dir(order)):
            _log.info("clip %s: %s was not finished and is made anew", order.clip, file)
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
                index_path(file).unlink(missing_ok=True)
        shutil.rmtree(self.state_dir(order), ignore_errors=True)

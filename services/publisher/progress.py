"""What an output tells of itself, and what of it survives a crash."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, field

from schemas.errors import ErrorInfo
from schemas.packets import Track
from schemas.resources import OutputState

_log = logging.getLogger(__name__)


class OutputProgress(Struct, frozen=True, kw_only=True):
    """The state of an output at one moment; the fields of `OutputActual` that the writer knows, and counters."""

    state: OutputState
    since_ns: int
    """CLOCK_REALTIME of the last change of state."""
    error: ErrorInfo | None = None
    file: str = ""
    bytes_written: int = 0
    retries: int = 0
    files: int = 0
    """Files begun, or connections made, with packets."""
    tracks: tuple[Track, ...] = ()
    missing: tuple[Track, ...] = ()
    """Expected tracks that told nothing in time: the output goes on without them."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Packets that did not reach the destination, by reason."""
    rebased: int = 0
    """Times that the producer's clock was set back."""


class Position(Struct, frozen=True, kw_only=True):
    """How far a recording has safely come: the last picture of it that a kill leaves behind."""

    run: int
    index: int
    pts_ns: int
    file: str


class PositionFile:
    """Keeps one output's position on disk, replaced as a whole. A power cut may lose it, and with it the ring."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Position | None:
        """The recorded position; None when there is none or it is not readable."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Position)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("position of an output is not readable and is ignored: %s: %s", self._path, error)
            return None

    def save(self, position: Position) -> None:
        """Record the position.

        Raises:
            OSError: the file system refuses.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(position))
        os.replace(temporary, self._path)

    def forget(self) -> None:
        """The output has ended on purpose: a later one of its name starts afresh."""
        self._path.unlink(missing_ok=True)

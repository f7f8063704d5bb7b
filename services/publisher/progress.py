"""What an output tells of itself, and what of it survives a crash."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, field

from schemas.errors import ErrorInfo
from schemas.packets import UNREADABLE, Track
from schemas.resources import OutputState, VideoInfo
from shared.whole_file import write_whole

_log = logging.getLogger(__name__)

_SAVE_SECONDS = 1.0  # a transport stream grows with every picture, and a card wears out


class OutputProgress(Struct, frozen=True, kw_only=True):
    """The state of an output at one moment; the fields of `OutputActual` that the writer knows, and counters."""

    state: OutputState
    since_ns: int
    """CLOCK_REALTIME of the last change of state."""
    error: ErrorInfo | None = None
    file: str = ""
    bytes_written: int = 0
    retries: int = 0
    started_ns: int = 0
    """When the first picture of its first file was captured, CLOCK_REALTIME."""
    duration_ns: int = 0
    recorded: tuple[str, ...] = ()
    """Its files, the newest last."""
    video: VideoInfo | None = None
    """Of what the files hold; when it is finished."""
    files: int = 0
    """Files begun, or connections made, with packets."""
    tracks: tuple[Track, ...] = ()
    missing: tuple[Track, ...] = ()
    """Expected tracks that told nothing in time: the output goes on without them."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Packets that did not reach the destination, by reason."""
    deleted: Mapping[str, int] = field(default_factory=dict)
    """Its files that went because of what is to be kept, by reason."""
    rebased: int = 0
    """Times that the producer's clock was set back."""


class Position(Struct, frozen=True, kw_only=True):
    """How far a recording has safely come: the last picture of it that a kill leaves behind."""

    run: int
    index: int
    pts_ns: int
    file: str


class SafePosition:
    """Keeps on disk how far a recording is safe, replaced as a whole.

    A power cut may lose it, and with it the packet ring that it points into.
    """

    def __init__(self, path: Path | None) -> None:
        """`path`: None for an output whose position is not kept."""
        self._path = path
        self._saved_at, self._file = 0.0, ""

    def save(self, position: Position) -> None:
        """The recording is safe up to there; of one file once a second, for its index tells what has come since."""
        if self._path is None:
            return
        now = time.monotonic()
        if position.file == self._file and now - self._saved_at < _SAVE_SECONDS:
            return
        self._saved_at, self._file = now, position.file
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, msgspec.json.encode(position))
        except OSError as error:  # the recording matters more than the record of it
            _log.warning("position of an output is not recorded: %s", error)

    def load(self) -> Position | None:
        """The recorded position; None when there is none or it is not readable."""
        if self._path is None:
            return None
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Position)
        except FileNotFoundError:
            return None
        except (OSError, *UNREADABLE) as error:
            _log.warning("position of an output is not readable and is ignored: %s: %s", self._path, error)
            return None

    def forget(self) -> None:
        """The output has ended on purpose: a later one of its name starts afresh."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

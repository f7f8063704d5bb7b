"""The files of one output, in the order they were begun: remembered across crashes, so that none is lost sight of."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from schemas.errors import ErrorInfo
from schemas.packets import UNREADABLE
from schemas.resources import VideoInfo
from services.publisher.file_figures import FileFigures, is_only_begun, read_figures
from shared.whole_file import write_whole

_log = logging.getLogger(__name__)

JOURNAL_SUFFIX: Final = ".files.json"
# An archive may begin files for years; of those before the newest ones only the sums are kept.
_MAX_FILES = 64


class RecordedFile(Struct, frozen=True, kw_only=True):
    path: str
    figures: FileFigures | None = None
    """None: it is being written, or was when this process was killed."""
    told: bool = True
    """That it is finished was told."""


class Journal(Struct, frozen=True, kw_only=True):
    """What is kept on disk."""

    to: str
    """Another destination is another recording."""
    started_ns: int = 0
    """When the first picture of the first file was captured, CLOCK_REALTIME."""
    files: tuple[RecordedFile, ...] = ()
    earlier: FileFigures = FileFigures()
    """Sums over the files before these."""
    error: ErrorInfo | None = None
    """Why this recording ended by itself."""
    stopped: bool = False
    """That it has ended was told."""


class RecordedFiles:
    """Belongs to the output's thread while that runs. `path`: None where nothing is kept on disk."""

    def __init__(self, path: Path | None, to: str) -> None:
        self._path = path
        self._journal = Journal(to=to)
        self._now_ns = 0
        """Duration of the file being written."""
        self._gone: deque[str] = deque()
        """Files that another thread has deleted."""

    def load(self) -> None:
        """Take up what an earlier run of this service has written; blocks."""
        if self._path is None:
            return
        try:
            journal = msgspec.json.decode(self._path.read_bytes(), type=Journal)
        except FileNotFoundError:
            return
        except (OSError, *UNREADABLE) as error:
            _log.warning("journal of an output is not readable and is ignored: %s: %s", self._path, error)
            return
        if journal.to == self._journal.to:
            self._journal = journal
            self._gone.extend(file.path for file in journal.files if not os.path.exists(file.path))
            self.settle()

    @property
    def started_ns(self) -> int:
        return self._journal.started_ns

    @property
    def error(self) -> ErrorInfo | None:
        return self._journal.error

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(file.path for file in self._journal.files)

    @property
    def untold(self) -> tuple[str, ...]:
        """Files that are closed, which was not told yet."""
        return tuple(file.path for file in self._journal.files if not file.told and file.figures is not None)

    @property
    def stopped(self) -> bool:
        """That the recording has ended was told."""
        return self._journal.stopped

    @property
    def duration_ns(self) -> int:
        return sum(figures.duration_ns for figures in self._known()) + self._now_ns

    @property
    def size_bytes(self) -> int:
        """Of the files that are closed."""
        return sum(figures.size_bytes for figures in self._known())

    @property
    def video(self) -> VideoInfo | None:
        """Of the newest file that can be played."""
        return next((figures.video for figures in reversed(self._known()) if figures.video), None)

    def begin(self, path: str, started_ns: int) -> None:
        """A file is there now, still empty."""
        self._drop_gone()
        files = (*self._journal.files, RecordedFile(path=path, told=False))
        dropped = [file.figures for file in files[:-_MAX_FILES] if file.figures]
        self._now_ns = 0
        self._keep(
            started_ns=self._journal.started_ns or started_ns,
            files=files[-_MAX_FILES:],
            earlier=_sum([self._journal.earlier, *dropped]),
        )

    def reached(self, end_ns: int) -> None:
        """So much is in the file being written."""
        self._now_ns = max(self._now_ns, end_ns)

    def settle(self) -> None:
        """The file being written is closed, or was left by a crash: read what is in it; blocks."""
        self._now_ns = 0
        self._drop_gone()
        files = []
        for file in self._journal.files:
            if file.figures is not None:
                files.append(file)
            elif os.path.exists(file.path) and not _taken_away(Path(file.path)):  # else nothing was in it
                files.append(msgspec.structs.replace(file, figures=read_figures(Path(file.path))))
        if tuple(files) != self._journal.files:
            begun = bool(files) or self._journal.earlier != FileFigures()
            self._keep(files=tuple(files), started_ns=self._journal.started_ns if begun else 0)

    def told(self, path: str) -> None:
        """Everybody was told that this file is finished."""
        self._keep(files=tuple(_told(file) if file.path == path else file for file in self._journal.files))

    def look_again(self, paths: Iterable[str]) -> None:
        """These closed files have changed: read what is in them; blocks."""
        changed = set(paths)
        self._keep(
            files=tuple(
                msgspec.structs.replace(file, figures=read_figures(Path(file.path))) if file.path in changed else file
                for file in self._journal.files
            )
        )

    def drop(self, path: str) -> None:
        """This file is no more, and what was in it another one has."""
        self._keep(files=tuple(file for file in self._journal.files if file.path != path))

    def gone(self, path: str) -> None:
        """This closed file was deleted; its figures stay in the sums. The only method for other threads."""
        self._gone.append(path)

    def stop(self) -> None:
        """Everybody was told that the recording has ended."""
        self._keep(stopped=True)

    def end(self, error: ErrorInfo) -> None:
        """Nothing more shall be written, not even by a later run of this service."""
        self._keep(error=error)

    def forget(self) -> None:
        """The output has ended on purpose: a later one of its name starts afresh."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _drop_gone(self) -> None:
        gone = set()
        while self._gone:
            gone.add(self._gone.popleft())
        dropped = [file for file in self._journal.files if file.path in gone and file.figures]
        if dropped:
            earlier = _sum([self._journal.earlier, *(file.figures for file in dropped if file.figures)])
            self._keep(files=tuple(file for file in self._journal.files if file not in dropped), earlier=earlier)

    def _known(self) -> list[FileFigures]:
        return [self._journal.earlier, *(file.figures for file in self._journal.files if file.figures)]

    def _keep(self, **changes: object) -> None:
        self._journal = msgspec.structs.replace(self._journal, **changes)
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, msgspec.json.encode(self._journal))
        except OSError as error:  # the recording matters more than the record of it
            _log.warning("journal of an output is not recorded: %s", error)


def forget_all_but(folder: Path | None, known: Callable[[str], bool]) -> None:
    """Take away what is kept of outputs that ended while no publisher ran here, or was killed: a later one of that name
    must not go on with their files. `known`: there is an output of this id. Blocks."""
    if folder is None:
        return
    for path in folder.glob("*--*.json"):
        if not known(path.name.removesuffix(".json").removesuffix(".files")):
            path.unlink(missing_ok=True)


def files_in_journals(folder: Path) -> list[Path]:
    """Of all outputs whose journals lie there; blocks."""
    found = []
    for path in folder.glob(f"*{JOURNAL_SUFFIX}"):
        try:
            journal = msgspec.json.decode(path.read_bytes(), type=Journal)
        except (OSError, *UNREADABLE) as error:
            _log.warning("journal of an output is not readable and is ignored: %s: %s", path, error)
            continue
        found += [Path(file.path) for file in journal.files]
    return found


def _told(file: RecordedFile) -> RecordedFile:
    return msgspec.structs.replace(file, told=True)


def _taken_away(path: Path) -> bool:
    """Where a kill came before the first picture, the file goes."""
    try:
        if not is_only_begun(path):
            return False
        path.unlink()
    except OSError as error:
        _log.warning("recording %s cannot be read: %s", path, error)
        return False
    return True


def _sum(parts: list[FileFigures]) -> FileFigures:
    return FileFigures(
        size_bytes=sum(part.size_bytes for part in parts),
        duration_ns=sum(part.duration_ns for part in parts),
        video=next((part.video for part in reversed(parts) if part.video), None),
    )

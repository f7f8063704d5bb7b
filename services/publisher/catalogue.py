"""What was recorded: every file below the roots that has its index beside it."""

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import msgspec

from schemas.errors import Conflict, InvalidValue, NotFound, Unavailable
from schemas.ids import Id, check_id
from schemas.recordings import RecordedFile
from schemas.tokens import covers
from shared.recording_index import SUFFIX, BadIndex, IndexHeader, IndexSummary, index_path, read_summary

_log = logging.getLogger(__name__)

_MAX_DEPTH: Final = 16  # as many folders as a template of an output may name
_MAX_FILES: Final = 200_000  # pieces of 10 s for three weeks; each costs 1 kB of memory
_MAX_PARTS: Final = 256  # of a whole path that a system takes
_Stamp = tuple[int, int, int]


class Entry(NamedTuple):
    """A recorded file and what its index says."""

    path: Path
    name: str
    """Below the first root; of the others the whole path."""
    size_bytes: int
    summary: IndexSummary

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        return self.summary.pictures > 0 and self.summary.start_ns <= end_ns and self.summary.end_ns >= start_ns


class OpenedFile(NamedTuple):
    """A recorded file that is open for reading; whoever has it closes `fd`."""

    fd: int
    header: IndexHeader


class Catalogue:
    """Looks at the disk each time it is asked, but reads an index again only when it has changed. From any thread."""

    def __init__(self, roots: tuple[Path, ...], writing: Callable[[], Collection[str]]) -> None:
        """`writing`: paths of the files that are being written now."""
        self._roots = roots
        self._writing = writing
        self._known: dict[str, tuple[_Stamp, IndexSummary]] = {}
        self._lock = threading.Lock()

    def entries(self, stream: Id | None = None) -> list[Entry]:
        """All files, or those of a stream, the oldest first; blocks."""
        with self._lock:
            found: list[Entry] = []
            known: dict[str, tuple[_Stamp, IndexSummary]] = {}
            for root in self._roots:
                for path, index, size_bytes in _recorded(root, 0):
                    if len(known) >= _MAX_FILES:
                        _log.warning("more than %d recordings below %s; the others are not told of", _MAX_FILES, root)
                        break
                    if (about := self._summary(path + SUFFIX, index)) is not None:
                        known[path + SUFFIX] = about
                        found.append(Entry(Path(path), self.name_of(Path(path)), size_bytes, about[1]))
            self._known = known
        chosen = [entry for entry in found if stream is None or entry.summary.header.stream == stream]
        return sorted(chosen, key=lambda entry: (entry.summary.start_ns, entry.name))

    def list(
        self, stream: Id | None, start_ns: int, end_ns: int, limit: int, streams: tuple[str, ...] = ()
    ) -> tuple[list[RecordedFile], bool]:
        """The newest `limit` files that have something of that time, the oldest first; True: there are older ones.

        `streams`: patterns that a file's stream must be of one of; empty: any stream.
        """
        entries = [
            entry
            for entry in self.entries(stream)
            if entry.overlaps(start_ns, end_ns)
            and (not streams or any(covers(pattern, entry.summary.header.stream) for pattern in streams))
        ]
        writing = frozenset(self._writing())
        told = [_told(entry, str(entry.path) in writing) for entry in entries[-limit:]]
        return [one for one in told if one is not None], len(entries) > limit

    def name_of(self, path: Path) -> str:
        """A recorded file as it is told to others."""
        return str(path.relative_to(self._roots[0])) if path.is_relative_to(self._roots[0]) else str(path)

    def open(self, name: str, stream: Id | None = None) -> OpenedFile:
        """A recorded file, for reading. Never follows a link.

        Raises:
            InvalidValue: the name leads outside.
            NotFound: no recording has this name, or it is not of `stream`.
        """
        root, parts = self._place(name)
        try:
            folder_fd = _folder_below(root, parts[:-1])
            try:
                header = _header_beside(folder_fd, parts[-1])
                if stream is None or header.stream == stream:
                    return OpenedFile(_open_in(folder_fd, parts[-1]), header)
            finally:
                os.close(folder_fd)
        except (OSError, ValueError):  # gone, a link, a folder, no index beside it; or a NUL
            pass
        raise _missing(name)

    def delete(self, name: str, stream: Id) -> tuple[Path, IndexHeader, int]:
        """Take a recorded file and its index away: where it was, whose, and its bytes. Never follows a link.

        Raises:
            InvalidValue: the name leads outside.
            NotFound: no recording has this name, or it is not of `stream`.
            Conflict: it is being written.
            Unavailable: the disk does not let it go.
        """
        root, parts = self._place(name)
        path = root.joinpath(*parts)
        try:
            folder_fd = _folder_below(root, parts[:-1])
        except (OSError, ValueError):
            raise _missing(name) from None
        try:
            try:
                header = _header_beside(folder_fd, parts[-1])
                check_id(header.output, "output")  # an index may be anybody's
                found = os.stat(parts[-1], dir_fd=folder_fd, follow_symlinks=False)
            except (OSError, ValueError):
                raise _missing(name) from None
            if header.stream != stream or not stat.S_ISREG(found.st_mode):
                raise _missing(name)
            if str(path) in frozenset(self._writing()):
                raise Conflict(f"recording {name!r} is being written; end it first")
            try:
                # The file before its index: what a kill leaves between the two is known for a left one.
                os.unlink(parts[-1], dir_fd=folder_fd)
                os.unlink(index_path(Path(parts[-1])).name, dir_fd=folder_fd)
            except FileNotFoundError:  # retention was faster
                raise _missing(name) from None
            except OSError as error:
                raise Unavailable(f"recording {name!r} cannot be deleted: {error.strerror}") from None
        finally:
            os.close(folder_fd)
        return path, header, found.st_size

    def _place(self, name: str) -> tuple[Path, tuple[str, ...]]:
        """The root that a recording lies below, and its path there.

        Raises:
            InvalidValue: the name leads outside.
            NotFound: it names a root.
        """
        path = PurePosixPath(name)
        if not name or not name.isprintable() or ".." in path.parts or len(path.parts) > _MAX_PARTS:
            raise InvalidValue("file", name, "write it as publisher.recordings tells it")
        root = self._roots[0]
        if path.is_absolute():
            root = next((root for root in self._roots if path.is_relative_to(root)), self._roots[0])
            if not path.is_relative_to(root):
                raise InvalidValue("file", name, "recordings lie below the folders for recordings only")
            path = path.relative_to(root)
        if not path.parts:
            raise _missing(name)
        return root, path.parts

    def _summary(self, index: str, found: os.stat_result) -> tuple[_Stamp, IndexSummary] | None:
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        before = self._known.get(index)
        if before is not None and before[0] == stamp:
            return before
        try:
            return stamp, read_summary(Path(index))
        except (OSError, BadIndex) as error:
            _log.debug("%s: %s", index, error)
            return None


def _recorded(folder: Path | str, depth: int) -> Iterator[tuple[str, os.stat_result, int]]:
    """Path, what stat says of the index, and the file's size in bytes."""
    files: dict[str, os.DirEntry[str]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if depth < _MAX_DEPTH:
                        yield from _recorded(entry.path, depth + 1)
                else:
                    files[entry.name] = entry
    except OSError as error:  # taken away meanwhile, or not ours to see
        _log.debug("%s: %s", folder, error)
    for name, entry in files.items():
        if name.endswith(SUFFIX) and (file := files.get(name.removesuffix(SUFFIX))) is not None:
            with contextlib.suppress(OSError):  # gone meanwhile
                yield file.path, entry.stat(follow_symlinks=False), file.stat(follow_symlinks=False).st_size


def _told(entry: Entry, writing: bool) -> RecordedFile | None:
    header = entry.summary.header
    about = {
        "file": entry.name,
        "stream": header.stream,
        "output": header.output,
        "rendition": header.rendition,
        "format": header.format,
        "start_ns": entry.summary.start_ns,
        "end_ns": entry.summary.end_ns,
        "size_bytes": entry.size_bytes,
        "pictures": entry.summary.pictures,
        "codec": header.codec,
        "width": header.width,
        "height": header.height,
        "writing": writing,
    }
    try:  # an index may be anybody's: its names are checked as everything from outside
        return msgspec.convert(about, RecordedFile)
    except msgspec.ValidationError as error:
        _log.debug("%s: %s", entry.path, error)
        return None


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no recording {name!r}; publisher.recordings lists what there is")


def _folder_below(root: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of the folder. Raises: OSError: on the way there is something else than folders."""
    folder_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
            os.close(folder_fd)
            folder_fd = inner
    except BaseException:
        os.close(folder_fd)
        raise
    return folder_fd


def _header_beside(folder_fd: int, name: str) -> IndexHeader:
    """What the index of the file says. Raises: OSError, BadIndex: there is none."""
    index_fd = _open_in(folder_fd, index_path(Path(name)).name)
    try:
        # By its descriptor: whatever a path would lead to by now, this is the file that was judged.
        return read_summary(Path(f"/proc/self/fd/{index_fd}")).header
    finally:
        os.close(index_fd)


def _open_in(folder_fd: int, name: str) -> int:
    """Raises: OSError: it is no plain file."""
    # Not blocking: somebody may have put a pipe there.
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(name)
    return fd

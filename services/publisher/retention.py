"""Old files of one output go, so that new ones have room: by age, by their sum, by what is free on the disk."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from schemas.resources import OutputSpec
from schemas.units import NS_PER_SECOND, parse_bytes, parse_duration
from shared.recording_index import SUFFIX, BadIndex, index_path, read_summary

_log = logging.getLogger(__name__)

# How often age and the free room are looked at while no file ends; the disk fills by megabytes in that time.
_CHECK_SECONDS: Final = 5.0
_STOP_SECONDS = _ROOM_SECONDS = 5.0  # an unlink of a very large file takes seconds on some disks


class KeptFile(NamedTuple):
    """A file of this output that is closed."""

    start_ns: int
    end_ns: int
    """The later one of what its pictures and the file system say: a capture clock that knows no date makes no new file
    an old one."""
    size_bytes: int


class Limits(NamedTuple):
    """What an output's spec says; None: no limit."""

    age_ns: int | None
    all_bytes: int | None
    free_bytes: int | None

    @classmethod
    def of(cls, spec: OutputSpec) -> "Limits":
        """Raises:
        InvalidValue: names the field.
        """
        return cls(
            round(parse_duration(spec.keep_for, "keep_for") * NS_PER_SECOND) if spec.keep_for else None,
            parse_bytes(spec.keep_bytes, "keep_bytes") if spec.keep_bytes else None,
            parse_bytes(spec.keep_free, "keep_free") if spec.keep_free else None,
        )

    @property
    def any(self) -> bool:
        return any(limit is not None for limit in self)


class Retention:
    """Deletes the oldest closed files of one output, with their indexes, in a thread of its own.

    What is this output's is known from the indexes below its folder, read once at the start, and from what its writer
    adds; never from names alone.
    """

    def __init__(self, spec: OutputSpec, folder: Path, on_deleted: Callable[[Path, str], None]) -> None:
        """`folder`: all of this output's files are below it. `on_deleted` is called from the thread, with the reason.

        Raises:
            InvalidValue: a limit that is none.
        """
        self._spec, self._folder, self._on_deleted = spec, folder, on_deleted
        self.limits = Limits.of(spec)
        self._owner = (spec.stream, spec.output, spec.node or "")
        self._changed = threading.Condition()
        self._files: dict[Path, KeptFile] = {}
        self._unfinished: set[Path] = set()
        self._stopping = self._due = False
        self._looks = 0
        """Begun so far; counted by the thread."""
        self._looks_done = 0
        self._thread = threading.Thread(target=self._run, name=f"retention-{spec.stream}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    def begun(self, file: Path) -> None:
        """Never to be deleted until it is added."""
        with self._changed:
            self._unfinished.add(file)
            self._files.pop(file, None)

    def add(self, file: Path, kept: KeptFile) -> None:
        """A file that is closed; looks at the limits at once."""
        with self._changed:
            self._unfinished.discard(file)
            self._files[file] = kept
            self._due = True
            self._changed.notify_all()

    def look(self) -> None:
        """Look at the limits at once."""
        with self._changed:
            self._due = True
            self._changed.notify_all()

    def make_room(self) -> None:
        """Look at the limits at once, and wait until that is done, or for as long as a slow disk may take."""
        with self._changed:
            if self._stopping or not self._thread.is_alive():
                return
            after = self._looks  # one that is under way may have passed what is too much now
            self._due = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopping or self._looks_done > after, _ROOM_SECONDS)

    def forget(self, file: Path) -> None:
        """It is gone."""
        with self._changed:
            self._unfinished.discard(file)
            self._files.pop(file, None)

    def scan(self) -> None:
        """Take up the files that earlier runs have written; blocks for as long as the folder is large."""
        for parent, _, names in os.walk(self._folder):  # does not follow links
            for name in names:
                if not name.endswith(SUFFIX):
                    continue
                file = Path(parent, name.removesuffix(SUFFIX))
                try:
                    header, _, start_ns, end_ns = read_summary(Path(parent, name))
                    if (header.stream, header.output, header.node) != self._owner:
                        continue
                    if self._took_orphan(file):
                        continue
                    status = file.stat(follow_symlinks=False)
                except (OSError, BadIndex) as error:  # gone meanwhile, or none of ours
                    _log.debug("%s is left alone: %s", file, error)
                    continue
                with self._changed:
                    if file not in self._unfinished:
                        self._files.setdefault(
                            file, KeptFile(start_ns, max(end_ns, status.st_mtime_ns), status.st_size)
                        )

    def _took_orphan(self, file: Path) -> bool:
        """Where a kill came between a file and its index, the index is left: it goes. A new file is there before it."""
        with self._changed:
            if file in self._unfinished or os.path.lexists(file):
                return False
            index_path(file).unlink(missing_ok=True)
        self._remove_empty_folders(file.parent, [])
        return True

    def apply(self, now_ns: int) -> None:
        """Delete until the limits hold or nothing is left; blocks."""
        age_ns, all_bytes, _ = self.limits
        with self._changed:
            closed = sorted(self._files.items(), key=lambda one: _age_order(one[1], now_ns))
            unfinished = list(self._unfinished)
        total_bytes = sum(kept.size_bytes for _, kept in closed) + sum(map(_size_bytes, unfinished))
        is_low = self._is_low()
        for file, kept in closed:
            if age_ns is not None and now_ns - kept.end_ns > age_ns:
                reason = "keep_for"
            elif all_bytes is not None and total_bytes > all_bytes:
                reason = "keep_bytes"
            elif is_low:
                reason = "keep_free"
            else:
                continue
            total_bytes -= kept.size_bytes  # of one that cannot be deleted, too: it must not cost all others
            if self._delete(file):
                self._remove_empty_folders(file.parent, unfinished)
                _log.info("%s is deleted: %s", file, reason)
                self._on_deleted(file, reason)
                is_low = self._is_low()

    def _delete(self, file: Path) -> bool:
        try:
            file.unlink(missing_ok=True)
            index_path(file).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s cannot be deleted: %s", file, error.strerror)
            return False
        self.forget(file)
        return True

    def _is_low(self) -> bool:
        """Less is free than is to stay free."""
        if self.limits.free_bytes is None:
            return False
        try:
            status = os.statvfs(self._folder)
        except OSError:
            return False
        return status.f_bavail * status.f_frsize < self.limits.free_bytes

    def _remove_empty_folders(self, folder: Path, unfinished: list[Path]) -> None:
        """Folders of dates would be thousands after years; one that is in use is not touched."""
        while folder != self._folder and folder.is_relative_to(self._folder):
            if any(file.is_relative_to(folder) for file in unfinished):
                return
            try:
                folder.rmdir()
            except OSError:  # not empty
                return
            folder = folder.parent

    def _run(self) -> None:
        self.scan()
        while True:
            with self._changed:
                self._looks += 1
            self.apply(time.time_ns())
            with self._changed:
                self._looks_done = self._looks
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopping or self._due, _CHECK_SECONDS)
                if self._stopping:
                    return
                self._due = False


def _age_order(kept: KeptFile, now_ns: int) -> tuple[bool, int, int]:
    """The oldest first. What ended in the future was written before the clock was set back, so before all else."""
    return kept.end_ns <= now_ns, kept.end_ns, kept.start_ns


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # just gone, or not there yet
        return 0

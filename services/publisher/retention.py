"""Old files of one output go, so that new ones have room: by age, by their sum, by what is free on the disk."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from schemas.resources import OutputSpec
from schemas.units import parse_bytes, parse_duration
from shared.recording_index import SUFFIX, BadIndex, index_path, read_summary

_log = logging.getLogger(__name__)

_NANOSECONDS = 1_000_000_000
# How often age and the free room are looked at while no file ends; the disk fills by megabytes in that time.
_CHECK_SECONDS: Final = 5.0
_STOP_SECONDS = 5.0  # an unlink of a very large file takes seconds on some disks


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
            round(parse_duration(spec.keep_for, "keep_for") * _NANOSECONDS) if spec.keep_for else None,
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
                    status = file.stat(follow_symlinks=False)
                except (OSError, BadIndex) as error:  # gone meanwhile, or none of ours
                    _log.debug("%s is left alone: %s", file, error)
                    continue
                with self._changed:
                    if file not in self._unfinished:
                        self._files.setdefault(
                            file, KeptFile(start_ns, max(end_ns, status.st_mtime_ns), status.st_size)
                        )

    def apply(self, now_ns: int) -> None:
        """Delete until the limits hold or nothing is left; blocks."""
        failed: set[Path] = set()
        while True:
            with self._changed:
                closed = {file: kept for file, kept in self._files.items() if file not in failed}
                unfinished = list(self._unfinished)
            if not closed:
                return
            oldest = min(closed, key=lambda file: closed[file].start_ns)
            reason = self._reason(closed, oldest, unfinished, now_ns)
            if not reason:
                return
            try:
                oldest.unlink(missing_ok=True)
                index_path(oldest).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("%s cannot be deleted: %s", oldest, error.strerror)
                failed.add(oldest)
                continue
            self.forget(oldest)
            self._remove_empty_folders(oldest.parent, unfinished)
            _log.info("%s is deleted: %s", oldest, reason)
            self._on_deleted(oldest, reason)

    def _reason(self, closed: dict[Path, KeptFile], oldest: Path, unfinished: list[Path], now_ns: int) -> str:
        age_ns, all_bytes, free_bytes = self.limits
        if age_ns is not None and now_ns - closed[oldest].end_ns > age_ns:
            return "keep_for"
        if all_bytes is not None:
            sizes = [kept.size_bytes for kept in closed.values()] + [_size_bytes(file) for file in unfinished]
            if sum(sizes) > all_bytes:
                return "keep_bytes"
        if free_bytes is not None:
            try:
                status = os.statvfs(self._folder)
            except OSError:
                return ""
            if status.f_bavail * status.f_frsize < free_bytes:
                return "keep_free"
        return ""

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
            self.apply(time.time_ns())
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._due, _CHECK_SECONDS)
                if self._stopping:
                    return
                self._due = False


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # just gone, or not there yet
        return 0

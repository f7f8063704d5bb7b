"""What one output has on the disk: its files, their indexes, how far they are safe, and which of them go."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import ErrorInfo, OutOfSpace
from schemas.ids import compound_id
from schemas.packets import PacketHeader, Track
from schemas.resources import OutputFormat, OutputSpec, VideoInfo
from schemas.units import NS_PER_SECOND
from services.publisher.disk_room import check_room
from services.publisher.failures import explain_file
from services.publisher.file_index import FileIndex
from services.publisher.file_names import own_folder
from services.publisher.outputs import format_of
from services.publisher.outputs.base import Output, OutputSettings
from services.publisher.overlap import Overlaps
from services.publisher.progress import Position, SafePosition
from services.publisher.recorded_files import JOURNAL_SUFFIX, RecordedFiles
from services.publisher.repair import repair_index
from services.publisher.retention import KeptFile, Retention
from services.publisher.timeline import Place
from shared.media.mux import TrackParameters
from shared.recording_index import BadIndex, IndexSummary, index_path, read_index, read_summary

_log = logging.getLogger(__name__)

INDEXED: frozenset[OutputFormat] = frozenset({"mp4", "ts", "mkv"})
"""Formats of one file each; a playlist keeps its own."""

Tell = Callable[[str, dict[str, Any]], None]
"""Event and detail; called from the output's thread, and from that of its retention."""


class FileSet:
    """Belongs to the output's thread while that runs. Of a push it knows nothing, and keeps nothing."""

    def __init__(self, spec: OutputSpec, url: str, settings: OutputSettings, tell: Tell) -> None:
        """Raises:
        InvalidValue: a limit of the spec is none.
        """
        self._spec, self._url, self._settings, self._tell = spec, url, settings, tell
        self._kind = format_of(spec, url)
        name = compound_id(spec.stream, spec.output)
        state_dir = settings.state_dir if url.startswith("file:") else None
        self._safe = SafePosition(state_dir / f"{name}.json" if state_dir else None)
        self._recorded = RecordedFiles(state_dir / f"{name}{JOURNAL_SUFFIX}" if state_dir else None, url)
        self._overlaps = Overlaps()
        self._index: FileIndex | None = None
        self._anew = True
        """The file being written is the first of all."""
        self._full = False
        """The disk was full, and nothing was written since."""
        self.deleted: Counter[str] = Counter()
        """Files by reason; counted by the thread of the retention alone."""
        self._retention: Retention | None = None
        if self._kind in INDEXED and settings.file_roots:
            retention = Retention(spec, own_folder(spec, url, settings.file_roots), self._was_deleted)
            self._retention = retention if retention.limits.any else None

    # -- before and after ------------------------------------------------------------------------------------------

    def load(self) -> Position | None:
        """Take up what an earlier run has written, made whole; where it safely ended, None when it never began."""
        self._recorded.load()
        self._overlaps.left = [Path(path) for path in self._recorded.untold]
        for file in self._overlaps.left:
            try:
                repair_index(file)
            except OSError as error:
                _log.warning("the index of %s cannot be repaired: %s", file, error)
        return self._indexed_position(self._safe.load())

    def start(self) -> None:
        """Before the first file: begin to look at what is kept."""
        if self._retention:
            for path in self._recorded.untold:
                self._retention.begun(Path(path))
            self._retention.start()

    def stop(self) -> None:
        """The output's thread has ended."""
        if self._retention:
            self._retention.stop()

    def finish(self) -> None:
        """Nothing more is written: read what the files hold, and tell once."""
        self._recorded.settle()
        self._overlaps.left = [Path(path) for path in self._recorded.untold]
        self._tell_left()
        if not self._recorded.stopped and self._recorded.names:
            self._tell("recording-stopped", self._summary())
            self._recorded.stop()

    def end(self, error: ErrorInfo) -> None:
        """Nothing more shall be written, not even by a later run of this service."""
        self._recorded.end(error)
        self.finish()

    def forget(self) -> None:
        """The output has ended on purpose: a later one of its name starts afresh."""
        self.finish()
        self._safe.forget()
        self._recorded.forget()

    @property
    def indexed(self) -> bool:
        """It consists of files that each have an index."""
        return self._kind in INDEXED

    # -- what is told ----------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Files, the newest last."""
        return self._recorded.names

    @property
    def error(self) -> ErrorInfo | None:
        """Why an earlier run, or this one, has ended the recording."""
        return self._recorded.error

    @property
    def started_ns(self) -> int:
        return self._recorded.started_ns

    @property
    def duration_ns(self) -> int:
        return self._recorded.duration_ns

    @property
    def size_bytes(self) -> int:
        return self._recorded.size_bytes

    @property
    def video(self) -> VideoInfo | None:
        return self._recorded.video

    # -- while it runs ---------------------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Raises:
        MeshError: there is no room for another file, or no place.
        """
        if not self._url.startswith("file:"):
            return
        try:
            check_room(self._spec, self._url, self._settings)
        except OutOfSpace:
            if self._retention is None:
                raise
            self._retention.make_room()  # what may go does so before anybody is told that the disk is full
            check_room(self._spec, self._url, self._settings)

    def expect(self, output: Output, first: PacketHeader) -> None:
        """An output is about to be opened, for packets from this key picture on."""

        def begun(path: str) -> None:
            self._anew = not self._recorded.started_ns
            if self._retention:
                self._retention.begun(Path(path))
            self._recorded.begin(path, first.captured_ns)

        output.on_file = begun

    def begin(self, output: Output, tracks: Mapping[Track, TrackParameters], first: PacketHeader) -> None:
        """An expected output was opened, for packets from this key picture on.

        Raises:
            MeshError: the disk does not take its index.
        """
        if not output.file:
            return
        path = Path(output.file)
        if output.file not in self.names:  # of an output that does not tell of its file early
            output.on_file(output.file)
        if self._kind not in INDEXED:
            return
        if not self._overlaps.begin(first):
            self._tell_left()
        try:
            self._index = FileIndex(self._spec, output, self._kind, tracks, first)
        except OSError as error:
            raise explain_file(error, path) from None
        if self._anew:
            self._tell("recording-started", {**self._named(path), "start_ns": first.captured_ns})
        elif self._full:
            self._tell("recording-resumed", {**self._named(path), "start_ns": first.captured_ns})
        self._full = False

    def written(self, output: Output, header: PacketHeader, place: Place) -> None:
        """A packet was handed to the output.

        Raises:
            MeshError: the disk does not take its index.
        """
        if not output.file:
            return
        if header.track == "video":
            self._recorded.reached(place.pts_ns + header.duration_ns)
        if self._index is not None:
            self._index.written(header, place)
            self._settle(output)

    def closed(self, output: Output, *, resumable: bool) -> None:
        """The output is closed, or has failed: what is in its file stays.

        `resumable`: this service stops, and a later run may go on; that tells of the file when it is known to be whole.
        """
        if not output.file:
            return
        if (index := self._index) is not None:
            try:
                self._settle(output)
            except OSError as error:
                _log.warning("the index of %s lacks its end: %s", output.file, error)
            finally:
                self._index = None
                index.close()
        self._recorded.settle()
        if not (resumable and self._kind in INDEXED and str(output.file) in self._recorded.untold):
            self._tell_finished(Path(output.file))

    def full(self, error: ErrorInfo) -> None:
        """The disk is full: told once until a file begins again."""
        if not self._full:
            self._full = True
            self._tell("disk-full", {"message": error.message})
        if self._retention:
            self._retention.look()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _settle(self, output: Output) -> None:
        assert self._index is not None
        try:
            last = self._index.settle()
        except OSError as error:
            raise explain_file(error, Path(output.file)) from None
        if last is None:
            return
        self._safe.save(Position(run=last.run, index=last.index, pts_ns=last.pts_ns, file=output.file))
        if self._overlaps.settled(last):
            left = self._overlaps.left
            for file in self._overlaps.cut():
                self._remove(file)
                left.remove(file)
            self._overlaps.left = left
            self._recorded.look_again(map(str, left))
            self._tell_left()

    def _remove(self, file: Path) -> None:
        """All that is in it, its successor has."""
        file.unlink(missing_ok=True)
        index_path(file).unlink(missing_ok=True)
        self._recorded.drop(str(file))
        if self._retention:
            self._retention.forget(file)

    def _tell_left(self) -> None:
        left = self._overlaps.left
        self._overlaps.forget()
        for file in left:
            self._tell_finished(file)

    def _tell_finished(self, file: Path) -> None:
        """Once per file, over all runs of this service."""
        if str(file) not in self._recorded.untold:
            if not file.exists():  # nothing was in it
                index_path(file).unlink(missing_ok=True)
                if self._retention:
                    self._retention.forget(file)
            return
        summary = _summary_of(file)
        try:
            status = file.stat()
        except OSError as error:
            _log.warning("%s: %s", file, error)
            return
        if self._retention and summary:
            end_ns = max(summary.end_ns, status.st_mtime_ns)
            self._retention.add(file, KeptFile(summary.start_ns, end_ns, status.st_size))
        detail: dict[str, Any] = {**self._named(file), "bytes": status.st_size}
        if summary:
            duration_s = (summary.end_ns - summary.start_ns) / NS_PER_SECOND
            detail |= {"start_ns": summary.start_ns, "end_ns": summary.end_ns, "duration_s": round(duration_s, 3)}
            detail |= {"pictures": summary.pictures, "index": self._named(index_path(file))["file"]}
        self._tell("segment-finished", detail)
        self._recorded.told(str(file))

    def gone(self, file: Path) -> None:
        """Somebody has deleted this closed file; from any thread."""
        self._recorded.gone(str(file))
        if self._retention:
            self._retention.forget(file)

    def _was_deleted(self, file: Path, reason: str) -> None:
        """In the thread of the retention."""
        self.deleted[reason] += 1
        self._recorded.gone(str(file))
        self._tell("recording-deleted", {**self._named(file), "reason": reason})

    def _summary(self) -> dict[str, Any]:
        return {
            "files": len(self.names),
            "start_ns": self.started_ns,
            "duration_s": round(self.duration_ns / NS_PER_SECOND, 3),
            "bytes": self.size_bytes,
        }

    def _named(self, file: Path) -> dict[str, str]:
        """Below the folder for recordings, as commands take it, and in full, as programs on this node do."""
        root = next((root for root in self._settings.file_roots if file.is_relative_to(root)), file.parent)
        return {"file": str(file.relative_to(root)), "file_name": str(file)}

    def _indexed_position(self, safe: Position | None) -> Position | None:
        """The index may know of pictures that came after what was last recorded as safe."""
        if safe is None or not self.names or safe.file != self.names[-1]:
            return safe
        try:
            records = read_index(index_path(Path(safe.file))).records
        except (OSError, BadIndex):
            return safe
        [places] = np.nonzero((records["run"] == safe.run) & (records["index"] == safe.index))
        if not len(places):
            return safe
        last = records[-1]
        pts_ns = safe.pts_ns + int(last["pts_ns"]) - int(records[places[-1]]["pts_ns"])
        return Position(run=int(last["run"]), index=int(last["index"]), pts_ns=pts_ns, file=safe.file)


def _summary_of(file: Path) -> IndexSummary | None:
    try:
        return read_summary(index_path(file))
    except (OSError, BadIndex) as error:
        _log.warning("%s has no index: %s", file, error)
        return None

"""One clip becomes a file: nothing is encoded, and what it holds is told exactly."""

import dataclasses
import time
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import ErrorInfo, NotFound, Unavailable, error_from_code
from schemas.ids import Id
from schemas.recordings import Clip
from schemas.resources import OutputSpec
from schemas.subjects import DEFAULT_RENDITION, SOURCE_RENDITION
from services.publisher.catalogue import Catalogue
from services.publisher.clip_cut import Cut
from services.publisher.clip_orders import ClipOrder
from services.publisher.clip_pieces import Piece, file_piece, ring_piece, spool_piece
from services.publisher.disk_room import check_room
from services.publisher.outputs.base import OutputSettings
from services.publisher.progress import OutputProgress
from services.publisher.writer import OutputWriter
from shared.packet_ring import PacketRingReader
from shared.packet_ring.folder import renditions_of
from shared.recording_index import index_path
from shared.ring import RingError

CLIP_OUTPUT: Final = "clip"
_FEED_SECONDS: Final = 30.0  # for room in the queue of a file: a disk that takes nothing for so long is broken
_CLOSE_SECONDS: Final = 30.0
_PREFERRED: Final = {SOURCE_RENDITION: 0, DEFAULT_RENDITION: 1}


class Kept(NamedTuple):
    """What there is of one rendition around a time."""

    rendition: Id
    start_ns: int
    end_ns: int
    covered_ns: int
    """Of the time that was asked for."""


class ClipMaker:
    """Blocks; from any thread, one clip at a time each."""

    def __init__(self, node: str, shm_dir: Path, settings: OutputSettings, catalogue: Catalogue) -> None:
        self._node, self._shm_dir, self._catalogue = node, shm_dir, catalogue
        self._settings = settings

    def kept(self, stream: Id, start_ns: int, end_ns: int) -> list[Kept]:
        """The renditions that there is something of, those first that cover most of that time."""
        spans: dict[Id, list[tuple[int, int]]] = {}
        for entry in self._catalogue.entries(stream):
            spans.setdefault(entry.summary.header.rendition, []).append((entry.summary.start_ns, entry.summary.end_ns))
        for rendition in renditions_of(self._shm_dir, stream):
            try:
                with PacketRingReader.open_latest(self._shm_dir, stream, rendition) as ring:
                    if (span := ring.kept_ns()) is not None:
                        spans.setdefault(rendition, []).append(span)
            except (RingError, LookupError):
                continue
        found = [
            Kept(rendition, min(one[0] for one in of), max(one[1] for one in of), _covered(of, start_ns, end_ns))
            for rendition, of in spans.items()
        ]
        return sorted(found, key=lambda one: (-one.covered_ns, _PREFERRED.get(one.rendition, 2), one.rendition))

    def make(self, order: ClipOrder, spool: Path | None, state_dir: Path | None = None) -> Clip:
        """Write the file.

        `state_dir`: takes what is needed to find the file when this process is killed meanwhile. Nothing is gone on
        with: such a clip is made again from the beginning.

        Raises:
            NotFound: there is nothing of that time; says what there is.
            OutOfSpace: the disk has no room.
            MeshError: the file cannot be written.
        """
        spec = output_spec(order, self._node)
        check_room(spec, order.to, self._settings)
        cut = Cut(self._pieces(order, spool), order.end_ns)
        progress = self._write(spec, order, cut, state_dir)
        files = [Path(file) for file in progress.recorded]
        failed = progress.error or (
            ErrorInfo(code=500, message=f"clip {order.clip} fell into {len(files)} files") if len(files) > 1 else None
        )
        if failed is not None:
            for file in files:
                file.unlink(missing_ok=True)
                index_path(file).unlink(missing_ok=True)
            raise error_from_code(failed.code, failed.message)
        if not files:
            raise self.nothing(order.stream, order.start_ns, order.end_ns)
        [path] = files
        return Clip(
            clip=order.clip,
            stream=order.stream,
            node=self._node,
            state="finished",
            error=cut.changed,
            file=self._catalogue.name_of(path),
            file_name=str(path),
            start_ns=cut.start_ns,
            end_ns=cut.end_ns,
            size_bytes=path.stat().st_size,
            gaps_ns=cut.gaps_ns,
        )

    def nothing(self, stream: Id, start_ns: int, end_ns: int) -> NotFound:
        """Nothing is kept of that time: what is."""
        kept = self.kept(stream, start_ns, end_ns)
        there = ", ".join(f"{one.rendition} from {_text(one.start_ns)} to {_text(one.end_ns)}" for one in kept)
        return NotFound(
            f"of {stream} from {_text(start_ns)} to {_text(end_ns)} nothing is kept on node {self._node}; there is "
            f"{there or 'nothing at all: record it, or set history of the stream'}"
        )

    def _write(self, spec: OutputSpec, order: ClipOrder, cut: Cut, state_dir: Path | None) -> OutputProgress:
        settings = dataclasses.replace(self._settings, state_dir=state_dir)
        writer = OutputWriter(spec, order.to, settings, lambda _: None, expected_tracks=cut.tracks)
        writer.start()
        try:
            for header, payload in cut.packets():
                writer.feed_when_room(header, memoryview(payload), _FEED_SECONDS)
                if writer.progress.error is not None:
                    break
        finally:
            finished = writer.finish(_CLOSE_SECONDS)
        if not finished:
            raise Unavailable(f"clip {order.clip}: the disk does not take its end")
        return writer.progress

    def _pieces(self, order: ClipOrder, spool: Path | None) -> list[Piece]:
        # The ring first: what is in no file yet leaves it soonest.
        found = [ring_piece(self._shm_dir, order.stream, order.rendition, order.start_ns, order.end_ns)]
        if spool is not None:
            found.append(spool_piece(spool, order.start_ns))
        found.extend(
            file_piece(entry, order.start_ns)
            for entry in self._catalogue.entries(order.stream)
            if entry.summary.header.rendition == order.rendition and entry.overlaps(order.start_ns, order.end_ns)
        )
        return [piece for piece in found if piece is not None and piece.start_ns <= order.end_ns]


def output_spec(order: ClipOrder, node: str) -> OutputSpec:
    """The clip as an output that is over as soon as it has begun."""
    return OutputSpec(stream=order.stream, output=CLIP_OUTPUT, to=order.to, rendition=order.rendition, node=node)


def _covered(spans: list[tuple[int, int]], start_ns: int, end_ns: int) -> int:
    total, reached_ns = 0, start_ns
    for start, end in sorted(spans):
        first, last = max(start, reached_ns), min(end, end_ns)
        if last > first:
            total, reached_ns = total + last - first, last
    return total


def _text(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest_ns // 1_000_000:03}Z"

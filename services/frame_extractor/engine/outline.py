"""The index of a remote MP4 without its pictures: times and sizes are in one place, the media need not be fetched.

Few pictures of a long video then cost the transfer of their groups, and not of all of it. Source: ISO/IEC 14496-12, 4.2
and 8.1.1.
"""

from typing import Final

import av
from av.container import InputContainer

from schemas.errors import MeshError
from services.frame_extractor.engine.coding import Coding
from services.frame_extractor.engine.errors import VideoError
from services.frame_extractor.engine.index import NO_TIME, Index, read_index
from services.frame_extractor.engine.limits import Halt, Limits
from services.frame_extractor.engine.open import OpenVideo
from services.frame_extractor.engine.plan import plan_runs
from services.frame_extractor.engine.targets import Moment
from shared.netguard import HttpReader
from shared.netguard.libav import ANY_TEXT

_MAX_BOXES: Final = 64  # at the top of a file in one piece: a handful
_SMALL_BYTES: Final = 4 << 20  # less is fetched as fast as it is asked for
_BOX_BYTES: Final = 16  # length, kind, long length
_SEARCH_PACKETS: Final = 64  # after a seek to a key picture
_ROUNDS: Final = 4  # of looking whether decoding can begin where the container says

# Parsers would look into the packets for what the container says already, and believe the zeros.
_OPTIONS: Final = {"format_whitelist": "mov", "protocol_whitelist": "none", "fflags": "+noparse+nofillin"}


class _NoOutlineError(Exception):
    """The index cannot be had without the media."""


class Outline:
    """A file as libav reads it: what is between the pictures comes from the server, they themselves are zeros."""

    def __init__(self, reader: HttpReader, blanks: list[tuple[int, int]]) -> None:
        self._reader = reader
        self._blanks = blanks
        self._position = 0

    @property
    def name(self) -> str:
        return self._reader.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._position, 2: self._reader.size_bytes or 0}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = 65_536) -> bytes:
        for start, end in self._blanks:
            if start <= self._position < end:
                data = bytes(min(size, end - self._position))
                self._position += len(data)
                return data
            if self._position < start:
                size = min(size, start - self._position)
        self._reader.seek(self._position)
        data = self._reader.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        self._reader.close()


def outline_of(reader: HttpReader) -> Outline | None:
    """None where this is no MP4 in one piece, or not worth it.

    Raises:
        MeshError: what the server answers.
    """
    size = reader.size_bytes
    if not reader.seekable() or size is None or size < _SMALL_BYTES:
        return None
    blanks: list[tuple[int, int]] = []
    kinds: list[bytes] = []
    position = 0
    while position + _BOX_BYTES <= size:
        head = _read(reader, position, _BOX_BYTES)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        header = 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = size - position
        if length < header or kind == b"moof" or len(kinds) >= _MAX_BOXES or (not kinds and kind != b"ftyp"):
            return None
        if kind == b"mdat":
            blanks.append((position + header, min(position + length, size)))
        kinds.append(kind)
        position += length
    return Outline(reader, blanks) if blanks and b"moov" in kinds else None


def read_outlined(video: OpenVideo, limits: Limits, halt: Halt) -> Index | None:
    """The index as the container tells it, without the media; None where that cannot be.

    Its key pictures are the container's word, see `check_entries`; which pictures may be left out is not in it.
    """
    url = video.url
    if url is None or url.scheme not in ("http", "https"):
        return None

    def open_outline() -> InputContainer:
        outline = outline_of(HttpReader(url))
        if outline is None:
            raise _NoOutlineError
        return av.open(outline, "r", format="mov", container_options=_OPTIONS, metadata_errors=ANY_TEXT)

    try:
        index = read_index(video, limits, halt, open_outline)
    except (_NoOutlineError, VideoError):  # what is wrong with it, the whole of it tells better
        return None
    # Frames in halves are told by their content, and what has no times by its own.
    return None if index.careful or index.note else index


def check_entries(video: OpenVideo, index: Index, moments: list[Moment], halt: Halt) -> bool:
    """Look whether decoding can begin where it is going to, and put right what the container says of it.

    False: that cannot be told, or it does not settle.
    """
    seen = {0}
    with video.opened(halt) as (container, stream):
        coding = Coding(stream)
        for _ in range(_ROUNDS):
            begins = [run.first for run in plan_runs(index, moments) if run.first not in seen]
            if not begins:
                return True
            for first in begins:
                if halt.is_set():
                    return True
                wanted = (int(index.pts[first] - index.shift[first]), int(index.dts[first]), int(index.size[first]))
                if wanted[1] == NO_TIME:
                    return False
                try:
                    container.seek(wanted[1], stream=stream)
                    packets = zip(range(_SEARCH_PACKETS), container.demux(stream), strict=False)
                    found = next((p for _, p in packets if (p.pts, p.dts, p.size) == wanted), None)
                except (MeshError, av.FFmpegError, OSError):
                    return False
                if found is None:
                    return False
                index.entry[first] = coding.look(found).entry
                seen.add(first)
    return False


def _read(reader: HttpReader, position: int, size: int) -> bytes:
    reader.seek(position)
    data = b""
    while len(data) < size and (more := reader.read(size - len(data))):
        data += more
    if len(data) < size:
        raise VideoError("download", "the server sends less than it said")
    return data

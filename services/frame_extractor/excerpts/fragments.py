"""Where the fragments of an MP4 are: by the index at its begin or end. Source: ISO/IEC 14496-12, 8.8 and 8.16."""

from collections.abc import Iterator
from typing import Final

from services.frame_extractor.excerpts.source import Points, Source, points_of

MAGIC: Final = b"ftyp"  # behind the length of the first box
_HEADER_BYTES: Final = 16
_MAX_TOP_BOXES: Final = 16  # before the first fragment
_MAX_BOX_BYTES: Final = 16 << 20
_MFRO_BYTES: Final = 16
_FRAGMENT_BOXES: Final = frozenset((b"moof", b"mdat", b"styp", b"sidx", b"emsg", b"prft", b"free", b"skip"))
_BASE_DATA_OFFSET: Final = 1  # of tfhd: places count from the begin of the file, and would be wrong in an excerpt


def map_fragments(source: Source) -> Points | None:
    """None where the file is in one piece, or nothing says where its fragments are.

    Raises:
        StorageError: the video cannot be read.
        ValueError: it is no such file.
    """
    position, head, track, timescale = 0, b"", 0, 0
    pairs: list[tuple[float, int]] = []
    end = source.size_bytes
    for _ in range(_MAX_TOP_BOXES):
        kind, size, header = _header(source.read(position, min(position + _HEADER_BYTES, source.size_bytes)))
        if kind == b"mdat" and not track:
            return None
        if kind == b"moof":
            moof = _box(source, position, size)[header:]
            if any(_full(body)[1] & _BASE_DATA_OFFSET for body in _all(moof, b"traf", b"tfhd")):
                return None
            break
        if kind in (b"ftyp", b"moov"):
            box = _box(source, position, size)
            head += box
            if kind == b"moov":
                if not any(_all(box[header:], b"mvex")) or (video := _video(box[header:])) is None:
                    return None
                track, timescale = video
                source.fragmented = True
        if kind == b"sidx" and track and not pairs:
            pairs, end = _segments(_box(source, position, size)[header:], track, position + size, source.size_bytes)
        position += size
    else:
        return None
    if len(pairs) < 2:
        pairs, end = _fragments(source, track, timescale)
    points = points_of(pairs, end)
    return Points(head, _are_boxes, points, end, timed=False) if len(points) > 1 and points[0][1] <= position else None


def _are_boxes(piece: bytes) -> bool:
    """Whether it holds boxes of fragments, the last one whole."""
    at = 0
    while at < len(piece):
        kind, size, _ = _header(piece[at : at + _HEADER_BYTES])
        if kind not in _FRAGMENT_BOXES:
            return False
        at += size
    return at == len(piece)


def _segments(data: bytes, track: int, after: int, size_bytes: int) -> tuple[list[tuple[float, int]], int]:
    """Of a segment index of this track that tells of all there is; nothing of any other."""
    version, _, data = _full(data)
    reference, timescale = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    wide = 8 if version else 4
    at_ticks, offset = int.from_bytes(data[8 : 8 + wide], "big"), int.from_bytes(data[8 + wide : 8 + 2 * wide], "big")
    entries = data[12 + 2 * wide :]
    count = int.from_bytes(data[10 + 2 * wide : 12 + 2 * wide], "big")
    place, pairs = after + offset, []
    for entry in (entries[12 * number : 12 * number + 12] for number in range(count)):
        reach = int.from_bytes(entry[:4], "big")
        if len(entry) < 12 or reach >> 31 or not timescale:  # it leads to other indices
            return [], size_bytes
        pairs.append((at_ticks / timescale, place))
        at_ticks += int.from_bytes(entry[4:8], "big")
        place += reach
    # Behind the last segment there may be the index of the file's end, and no more segments.
    whole = reference == track and size_bytes - place <= max(_MAX_BOX_BYTES >> 4, 24 * count)
    return (pairs, min(place, size_bytes)) if whole and place <= size_bytes else ([], size_bytes)


def _fragments(source: Source, track: int, timescale: int) -> tuple[list[tuple[float, int]], int]:
    """Of the index at the end of the file."""
    size_bytes = source.size_bytes
    tail = source.read(size_bytes - _MFRO_BYTES, size_bytes)
    length = int.from_bytes(tail[12:16], "big")
    if tail[4:8] != b"mfro" or not _MFRO_BYTES < length < min(size_bytes, _MAX_BOX_BYTES) or not timescale:
        return [], size_bytes
    begin = size_bytes - length
    box = source.read(begin, size_bytes)
    if box[4:8] != b"mfra":
        return [], size_bytes
    pairs = []
    for body in _all(box[8:], b"tfra"):
        version, _, data = _full(body)
        if int.from_bytes(data[:4], "big") != track:
            continue
        lengths, count = data[7], int.from_bytes(data[8:12], "big")
        wide = 8 if version else 4
        step = 2 * wide + (lengths >> 4 & 3) + (lengths >> 2 & 3) + (lengths & 3) + 3
        for at in range(12, min(len(data) - step, 12 + step * (count - 1)) + 1, step):
            ticks, place = (int.from_bytes(data[at + n * wide : at + (n + 1) * wide], "big") for n in range(2))
            pairs.append((ticks / timescale, place))
    return pairs, begin


def _video(moov: bytes) -> tuple[int, int] | None:
    """The id and the time scale of the one video track."""
    found = []
    for trak in _all(moov, b"trak"):
        handler, headers = next(_all(trak, b"mdia", b"hdlr"), b""), next(_all(trak, b"mdia", b"mdhd"), b"")
        if handler[8:12] == b"vide":
            version, _, header = _full(next(_all(trak, b"tkhd"), bytes(4)))
            track = header[16:20] if version else header[8:12]
            version, _, header = _full(headers or bytes(4))
            scale = header[16:20] if version else header[8:12]
            found.append((int.from_bytes(track, "big"), int.from_bytes(scale, "big")))
    return found[0] if len(found) == 1 else None


def _box(source: Source, position: int, size: int) -> bytes:
    if size > _MAX_BOX_BYTES or position + size > source.size_bytes:
        raise ValueError("a box that is too long")
    return source.read(position, position + size)


def _header(data: bytes) -> tuple[bytes, int, int]:
    """Kind, length and length of the header of a box."""
    if len(data) < 8:
        raise ValueError("a box that is cut off")
    size, header = int.from_bytes(data[:4], "big"), 8
    if size == 1:
        size, header = int.from_bytes(data[8:16], "big"), 16
    if size < header:
        raise ValueError("a box without an end")
    return data[4:8], size, header


def _all(data: bytes, kind: bytes, *inner: bytes) -> Iterator[bytes]:
    """The contents of the boxes of this kind, or of `inner` ones in them."""
    at = 0
    while at + 8 <= len(data):
        found, size, header = _header(data[at : at + _HEADER_BYTES])
        if found == kind:
            body = data[at + header : at + size]
            if inner:
                yield from _all(body, *inner)
            else:
                yield body
        at += size


def _full(data: bytes) -> tuple[int, int, bytes]:
    """Version, flags and the rest of a full box."""
    return data[0] if data else 0, int.from_bytes(data[1:4], "big"), data[4:]

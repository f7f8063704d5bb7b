"""Where the groups of a Matroska or WebM file are: its cues. Source: RFC 9559, sections 5 and 22."""

from collections.abc import Iterator
from typing import Final

from services.frame_extractor.excerpts.source import Points, Source, points_of

MAGIC: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT, _SEEK_HEAD, _INFO, _TRACKS = 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B
_CUES, _CLUSTER = 0x1C53BB6B, 0x1F43B675
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_TIMESTAMP_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK_ENTRY, _TRACK_NUMBER, _TRACK_TYPE, _VIDEO = 0xAE, 0xD7, 0x83, 1
_CUE_POINT, _CUE_TIME, _CUE_POSITIONS, _CUE_TRACK, _CUE_CLUSTER = 0xBB, 0xB3, 0xB7, 0xF7, 0xF1
_UNKNOWN_SIZE: Final = b"\x01" + b"\xff" * 7
_HEADER_BYTES: Final = 12  # of an element: its id has 4 at most, its length 8
_MAX_HEAD_ELEMENTS: Final = 64
_MAX_ELEMENT_BYTES: Final = 8 << 20  # of cues: a day of key pictures, one a second, has 2 MiB
_DEFAULT_SCALE_NS: Final = 1_000_000


def map_matroska(source: Source) -> Points | None:
    """None where there are no cues, or they do not tell enough.

    Raises:
        StorageError: the video cannot be read.
        ValueError: it is no such file.
    """
    kind, at, length = _header(source.read(0, 2 * _HEADER_BYTES), 0)
    segment = at + (length or 0)
    if segment > _MAX_ELEMENT_BYTES:
        raise ValueError("a header that is too long")
    kind, data_at, length = _header(source.read(segment, segment + _HEADER_BYTES), 0)
    if kind != _SEGMENT:
        raise ValueError("no segment")
    begin = segment + data_at
    end = source.size_bytes if length is None else min(source.size_bytes, begin + length)
    found: dict[int, bytes] = {}
    places: dict[int, int] = {}
    position = begin
    for _ in range(_MAX_HEAD_ELEMENTS):
        kind, header, size = _header(source.read(position, min(position + _HEADER_BYTES, end)), 0)
        if kind == _CLUSTER:
            break
        if size is None:
            raise ValueError("an element without a length")
        places[kind] = position
        if kind in (_SEEK_HEAD, _INFO, _TRACKS, _CUES):
            found[kind] = _element(source, position, header, size)
        position += header + size
    for kind, seek in _children(_body(found.get(_SEEK_HEAD, b""))):
        entry = dict(_children(seek)) if kind == _SEEK else {}
        if _SEEK_ID in entry and _SEEK_POSITION in entry:
            places.setdefault(_number(entry[_SEEK_ID]), begin + _number(entry[_SEEK_POSITION]))
    if _CUES not in found and _CUES in places:
        place = places[_CUES]
        kind, header, size = _header(source.read(place, min(place + _HEADER_BYTES, end)), 0)
        if kind == _CUES and size is not None:
            found[_CUES] = _element(source, place, header, size)
    if not {_INFO, _TRACKS, _CUES} <= found.keys():
        return None
    info = dict(_children(_body(found[_INFO])))
    videos = [entry for entry in map(_track, _children(_body(found[_TRACKS]))) if entry is not None]
    if _DURATION not in info or len(videos) != 1:
        return None
    scale_s = (_number(info[_TIMESTAMP_SCALE]) if _TIMESTAMP_SCALE in info else _DEFAULT_SCALE_NS) / 1e9
    pairs = [(time * scale_s, begin + place) for time, place in _cues(_body(found[_CUES]), videos[0])]
    points = points_of(pairs, end)
    if len(points) < 2:
        return None
    # What stands behind the last group says where things were in the whole file.
    end = min([end, *(place for place in places.values() if place > points[-1][1])])
    header_bytes = source.read(0, segment)
    head = header_bytes + _SEGMENT.to_bytes(4, "big") + _UNKNOWN_SIZE + found[_INFO] + found[_TRACKS]
    return Points(head, lambda piece: piece.startswith(_CLUSTER.to_bytes(4, "big")), points, end)


def _cues(data: bytes, track: int) -> Iterator[tuple[int, int]]:
    for kind, point in _children(data):
        if kind != _CUE_POINT:
            continue
        fields = list(_children(point))
        time = next((_number(value) for kind, value in fields if kind == _CUE_TIME), None)
        for part, value in fields:
            entry = dict(_children(value)) if part == _CUE_POSITIONS else {}
            if time is not None and _CUE_CLUSTER in entry and _number(entry.get(_CUE_TRACK, b"")) == track:
                yield time, _number(entry[_CUE_CLUSTER])


def _track(child: tuple[int, bytes]) -> int | None:
    kind, data = child
    entry = dict(_children(data)) if kind == _TRACK_ENTRY else {}
    return _number(entry.get(_TRACK_NUMBER, b"")) if _number(entry.get(_TRACK_TYPE, b"")) == _VIDEO else None


def _element(source: Source, position: int, header: int, size: int) -> bytes:
    if size > _MAX_ELEMENT_BYTES or position + header + size > source.size_bytes:
        raise ValueError("an element that is too long")
    return source.read(position, position + header + size)


def _body(element: bytes) -> bytes:
    return element[_header(element, 0)[1] :] if element else b""


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, body, size = _header(data, at)
        if size is None or body + size > len(data):
            raise ValueError("an element that is cut off")
        yield kind, data[body : body + size]
        at = body + size


def _header(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Of the element at `at`: its id, where its content begins, its length; None: that is not known."""
    kind, at = _vint(data, at, marked=True)
    first = data[at] if at < len(data) else 0
    size, end = _vint(data, at, marked=False)
    unknown = size == (1 << 7 * (9 - first.bit_length())) - 1
    return kind, end, None if unknown else size


def _vint(data: bytes, at: int, *, marked: bool) -> tuple[int, int]:
    first = data[at] if at < len(data) else 0
    length = 9 - first.bit_length()
    if not first or at + length > len(data):
        raise ValueError("no number of EBML")
    value = int.from_bytes(data[at : at + length], "big")
    return value if marked else value & ((1 << 7 * length) - 1), at + length


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")

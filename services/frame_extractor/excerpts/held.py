"""The pieces of a video that were read."""

from bisect import bisect_right
from itertools import accumulate
from typing import Final

from services.frame_extractor.excerpts.source import Map, Source, TooMuchError

MAX_BYTES: Final = 128 << 20
"""In memory at once; what needs more is read in another way."""


class Held:
    """Pieces in the order of the video, none twice."""

    def __init__(self, source: Source, map_: Map, most_bytes: int) -> None:
        self._source, self._map, self._most_bytes = source, map_, most_bytes
        self._pieces: list[tuple[int, bytes]] = []

    def add(self, wanted: list[tuple[int, int]]) -> None:
        """Read what is not here yet of these spans.

        Raises:
            TooMuchError: more than is worth it; before anything is read.
            StorageError: the video cannot be read.
            ValueError: what was read is not what the map says.
        """
        held = [(start, start + len(data)) for start, data in self._pieces]
        spans = _merged(held + wanted)
        if sum(end - start for start, end in spans) > self._most_bytes:
            raise TooMuchError
        pieces = []
        for start, end in spans:
            parts = []
            at = start
            for place, data in [piece for piece in self._pieces if start <= piece[0] < end]:
                parts += [self._read(at, place), data]
                at = place + len(data)
            parts.append(self._read(at, end))
            pieces.append((start, b"".join(parts)))
        self._pieces = pieces

    def parts(self) -> list[bytes]:
        """A video of its own."""
        return [self._map.head, *(data for _, data in self._pieces)]

    def number_of(self, position: int) -> int:
        """The piece that a byte of that video is in."""
        ends = list(accumulate(len(part) for part in self.parts()[:-1]))
        return max(0, bisect_right(ends, position) - 1)

    def number_at(self, start: int) -> int:
        """The piece that a byte of the source is in."""
        return bisect_right([place for place, _ in self._pieces], start) - 1

    def starts(self) -> list[int]:
        return [start for start, _ in self._pieces]

    @property
    def last(self) -> int:
        return len(self._pieces) - 1

    def _read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        data = self._source.read(start, end)
        if len(data) != end - start or not self._map.fits(data):
            raise ValueError("the index of the video does not fit it")
        return data


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged

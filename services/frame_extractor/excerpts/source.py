"""What an excerpt is made of: bytes of a remote video, and a map that says where its groups of pictures are."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final, Protocol

_WORTH_IT: Final = 0.5  # of a video, to find and to read its parts: where that is not enough, all of it is read besides


class Source(Protocol):
    """A remote video, read in pieces."""

    size_bytes: int
    fragmented: bool
    """To be set where it is an MP4 whose index is all over it."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`. Blocks.

        Raises:
            StorageError: download; they do not come.
        """


class TooMuchError(Exception):
    """Reading all of it would be as cheap."""


class Bounded:
    """A source that is asked for nothing outside of it, and for half of it at most, whatever an index says."""

    def __init__(self, source: Source) -> None:
        self.size_bytes = source.size_bytes
        self._source = source
        self._left_bytes = int(_WORTH_IT * source.size_bytes)

    @property
    def fragmented(self) -> bool:
        return self._source.fragmented

    @fragmented.setter
    def fragmented(self, fragmented: bool) -> None:
        self._source.fragmented = fragmented

    def read(self, start: int, end: int) -> bytes:
        """Raises:
        StorageError: as of the source.
        TooMuchError: with what was read before, that is more than half of it.
        ValueError: there are no such bytes.
        """
        if not 0 <= start <= end <= self.size_bytes:
            raise ValueError("an index that leads out of the video")
        self._left_bytes -= end - start
        if self._left_bytes < 0:
            raise TooMuchError
        return self._source.read(start, end) if start < end else b""


class Map(Protocol):
    """Where groups of pictures are. Its times are hints: what was read is looked at before it is believed."""

    head: bytes
    """What a demuxer needs before any group."""

    def fits(self, piece: bytes) -> bool:
        """Whether this is what the map says is there."""

    def around(self, at_s: float, before: int, after: int) -> tuple[int, int]:
        """The bytes around a moment, from the first picture on; more before and after it where that was too little.

        Raises:
            StorageError: the video cannot be read.
        """

    def time_of(self, start: int) -> float | None:
        """When what begins at this byte is shown, where that is not in its own packets; seconds, about."""


class Points:
    """A map by an index of key pictures."""

    def __init__(
        self,
        head: bytes,
        fits: Callable[[bytes], bool],
        points: list[tuple[float, int]],
        end: int,
        *,
        timed: bool = True,
    ) -> None:
        """Args:
        points: seconds and bytes, both ascending.
        end: of the last group.
        timed: packets say their times, and not how long after others they are.
        """
        self._timed = timed
        self.head, self._fits = head, fits
        first_s = points[0][0]
        self._times_s = [at_s - first_s for at_s, _ in points]
        self._offsets = [*(offset for _, offset in points), end]

    def fits(self, piece: bytes) -> bool:
        return self._fits(piece)

    def around(self, at_s: float, before: int, after: int) -> tuple[int, int]:
        at = max(0, bisect_right(self._times_s, at_s) - 1)
        last = len(self._offsets) - 1
        return self._offsets[max(0, at - before)], self._offsets[min(last, at + 1 + after)]

    def time_of(self, start: int) -> float | None:
        return None if self._timed else self._times_s[self._offsets.index(start)]


def points_of(pairs: list[tuple[float, int]], end: int) -> list[tuple[float, int]]:
    """Those that go on in time and in place; of one place the first."""
    points: list[tuple[float, int]] = []
    for at_s, offset in sorted(pairs, key=lambda pair: (pair[1], pair[0])):
        if offset < end and (not points or (offset > points[-1][1] and at_s > points[-1][0])):
            points.append((at_s, offset))
    return points

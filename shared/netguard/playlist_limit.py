"""Bounds for what libav keeps in memory whole: it reads an HLS playlist to its end, however far away that is."""

import time
from typing import Final

from schemas.errors import BadRequest, Unavailable

_START: Final = b"#EXTM3U"  # RFC 8216, 4.3.1.1; libav takes nothing else for a playlist
_LINE_ENDS: Final = (b"\n", b"\r", b"\0")  # as libav counts them
# Of each segment libav keeps its whole URL. A day in segments of 2 s has 86,400 lines.
MAX_LINES: Final = 100_000
MAX_BYTES: Final = 16 << 20


class PlaylistLimit:
    """Looks at one body as it is read from its start; anything but a playlist may be as long as it likes."""

    def __init__(self, what: str, seconds: float) -> None:
        """Args:
        what: names it in error texts.
        seconds: for all of a playlist, from now on.
        """
        self._what = what
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._head = b""
        self._bytes = self._lines = 0

    def note(self, data: bytes) -> None:
        """The next bytes have come.

        Raises:
            BadRequest: the playlist is longer than any that is meant to be played.
            Unavailable: it has taken too long.
        """
        if len(self._head) < len(_START):
            self._head += data[: len(_START)]
        if not _START.startswith(self._head[: len(_START)]):
            return
        self._bytes += len(data)
        self._lines += sum(map(data.count, _LINE_ENDS))
        if self._bytes > MAX_BYTES or self._lines > MAX_LINES:
            raise BadRequest(f"{self._what}: the playlist has more than {MAX_LINES} lines or {MAX_BYTES} bytes")
        if time.monotonic() > self._ends:
            raise Unavailable(f"{self._what}: no whole playlist within {self._seconds:g} s")

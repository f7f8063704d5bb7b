"""The playlist of one HLS output (RFC 8216): what is in it, as text and back."""

import math
import re
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from schemas.units import NS_PER_SECOND

_VERSION: Final = 7  # fragmented MP4 with EXT-X-MAP
# RFC 8216, 6.2.2: a live playlist keeps at least three target durations.
_LEAST_TARGETS: Final = 3
_ROUNDING_SECONDS: Final = 0.01  # pieces of 30/1.001 pictures/s add up to almost a second
_MAX_ENTRIES: Final = 1_000_000  # three weeks of 2 s; a file that holds more is none of ours

_TAG = re.compile(r"#EXT-X-(MEDIA-SEQUENCE|DISCONTINUITY-SEQUENCE|TARGETDURATION):(\d{1,15})\Z")
_MAP = re.compile(r'#EXT-X-MAP:URI="([^"/]{1,255})"\Z')
_TIME = re.compile(r"#EXT-X-PROGRAM-DATE-TIME:([0-9TZ:.-]{1,40})\Z")
_DURATION = re.compile(r"#EXTINF:(\d{1,6}\.\d{1,9}),\Z")


class Entry(Struct, frozen=True, kw_only=True):
    """One piece."""

    name: str
    header: str
    """Name of the file with what a player needs before it."""
    seconds: float
    time: str = ""
    """When its first picture was captured, ISO 8601."""
    discontinuity: bool = False
    """Times, or the codec, do not go on from the one before."""


class Playlist:
    """One output's. `owner` is written into it, so that no output goes on with another one's."""

    def __init__(self, owner: str, target_seconds: float) -> None:
        self._mark = f"## framemesh {owner}"
        self._target_seconds = math.ceil(target_seconds)
        self.entries: list[Entry] = []
        self.first = 0
        """Media sequence number of the first entry."""
        self.discontinuities = 0
        """Before the first entry."""

    @property
    def seconds(self) -> float:
        return sum(entry.seconds for entry in self.entries)

    @property
    def target_seconds(self) -> int:
        """No piece is longer, rounded (4.3.3.1): grows where key pictures are rarer than they should be."""
        return self._target_seconds

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._target_seconds = max(self._target_seconds, round(entry.seconds))

    def trim(self, window_seconds: float) -> list[Entry]:
        """Take out what lies before the window; returns it."""
        window_seconds = max(window_seconds, _LEAST_TARGETS * self._target_seconds) - _ROUNDING_SECONDS
        left, total = 0, self.seconds
        while left < len(self.entries) - 1 and total - self.entries[left].seconds >= window_seconds:
            total -= self.entries[left].seconds
            self.discontinuities += self.entries[left].discontinuity
            left += 1
        gone, self.entries = self.entries[:left], self.entries[left:]
        self.first += left
        return gone

    def text(self, *, grows_only: bool, ended: bool) -> str:
        """`grows_only`: nothing is ever taken out; `ended`: and nothing is added any more."""
        lines = ["#EXTM3U", f"#EXT-X-VERSION:{_VERSION}", self._mark, f"#EXT-X-TARGETDURATION:{self._target_seconds}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{self.first}", f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.discontinuities}"]
        if grows_only:
            lines.append("#EXT-X-PLAYLIST-TYPE:" + ("VOD" if ended else "EVENT"))
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
        header = ""
        for number, entry in enumerate(self.entries):
            if entry.discontinuity and (number or self.first):
                lines.append("#EXT-X-DISCONTINUITY")
            if entry.header != header:
                header = entry.header
                lines.append(f'#EXT-X-MAP:URI="{header}"')
            if entry.time:
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{entry.time}")
            lines += [f"#EXTINF:{entry.seconds:.6f},", entry.name]
        if ended:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"

    def load(self, text: str, names: re.Pattern[str]) -> None:
        """Go on with what an earlier run has written; `names`: what pieces and headers may be called.

        Raises:
            ValueError: it is another output's, or no playlist of ours.
        """
        lines = text.splitlines()
        if self._mark not in lines[:4]:
            raise ValueError("it is none of this output")
        numbers: dict[str, int] = {}
        entries: list[Entry] = []
        header = time = seconds = ""
        discontinuity = False
        for line in lines:
            if match := _TAG.match(line):
                numbers[match[1]] = int(match[2])
            elif match := _MAP.match(line):
                header = match[1]
            elif match := _TIME.match(line):
                time = match[1]
            elif match := _DURATION.match(line):
                seconds = match[1]
            elif line == "#EXT-X-DISCONTINUITY":
                discontinuity = True
            elif line and not line.startswith("#"):
                if not (names.fullmatch(line) and names.fullmatch(header) and seconds and len(entries) < _MAX_ENTRIES):
                    raise ValueError("it was changed")
                entries.append(
                    Entry(name=line, header=header, seconds=float(seconds), time=time, discontinuity=discontinuity)
                )
                time, seconds, discontinuity = "", "", False
        self.entries = entries
        self.first = numbers.get("MEDIA-SEQUENCE", 0)
        self.discontinuities = numbers.get("DISCONTINUITY-SEQUENCE", 0)
        self._target_seconds = max(self._target_seconds, numbers.get("TARGETDURATION", 0))


def time_text(realtime_ns: int) -> str:
    """As EXT-X-PROGRAM-DATE-TIME wants it; empty for a time beyond the calendar."""
    try:
        at = datetime.fromtimestamp(realtime_ns / NS_PER_SECOND, UTC)
    except (OverflowError, OSError, ValueError):
        return ""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

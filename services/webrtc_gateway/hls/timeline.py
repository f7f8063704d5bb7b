"""Times of a rendition's packets on the one clock of its fragments, which goes on whatever the producer's does."""

from typing import Final

from schemas.units import NS_PER_SECOND

VIDEO_CLOCK_HZ: Final = 90_000
"""Of the pictures' track, as `shared.media.mux` sets it."""
# A picture shown for longer is a source that stood still, not a slow one: what follows is another beginning.
LONGEST_PICTURE_NS: Final = 2 * NS_PER_SECOND
SLOWEST_PICTURE_NS: Final = 60 * NS_PER_SECOND
"""One picture a minute; what claims more, or shows a picture so long after decoding it, is damaged."""
DEFAULT_PICTURE_NS: Final = NS_PER_SECOND // 25


class Timeline:
    """One clock for both tracks, from 0 on; every beginning is put where what came before ends."""

    def __init__(self) -> None:
        self._offset_ns = 0
        self.end_ns = 0
        """Where the pictures so far end."""

    def begin(self, dts_ns: int) -> None:
        """What comes now does not follow on what came: its first picture is decoded where that ended."""
        self._offset_ns = self.end_ns - dts_ns

    def at(self, time_ns: int) -> int:
        """A producer's time on this clock."""
        return time_ns + self._offset_ns


def ticks(time_ns: int, clock_hz: int) -> int:
    return (time_ns * clock_hz + NS_PER_SECOND // 2) // NS_PER_SECOND

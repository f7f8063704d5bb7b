"""From the packets of a rendition, gaps, repeats and restarts included, to times that a muxer takes."""

from collections import Counter
from typing import NamedTuple

from schemas.packets import PacketHeader, Track
from schemas.units import NS_PER_SECOND

# Sound this far from the pictures belongs to another time: to the clock before a step, or to a dead producer.
_MAX_SKEW_NS = 10 * NS_PER_SECOND
# The step that is put in place of one backwards when the pictures do not tell their duration: 25 pictures/s.
_DEFAULT_DURATION_NS = NS_PER_SECOND // 25
# A real gap stays a gap; one this long is a host that found out the date, and nobody wants hours of nothing.
LONGEST_GAP_NS = 3_600 * NS_PER_SECOND


class Place(NamedTuple):
    """Where a packet goes on the output's own clock, which starts at 0."""

    pts_ns: int
    dts_ns: int


class Timeline:
    """Places the packets of one opened output; starts with the first key picture it is given.

    Pictures: a repeated packet is dropped; after a lost one (index or run do not follow) everything up to the
    next key picture is. Sound: dropped before the first picture, when repeated, and when it is far off the
    pictures. Times are the producer's, so a gap stays a gap; when they step backwards (to a producer whose clock was
    set back) the rest is moved so that it follows on, and that is counted in `rebased`.
    """

    def __init__(self, dropped: Counter[str]) -> None:
        """`dropped` takes the counts of what is not placed, by reason."""
        self._dropped = dropped
        self.rebased = 0
        self._offset_ns = 0
        self._started = False
        self._start_pts_ns = 0
        """Of the first picture, on the output's clock."""
        self._wait_for_key = True
        self._last: dict[Track, tuple[int, int]] = {}
        """Run and index of the last packet, placed or not."""
        self._last_dts_ns: dict[Track, int] = {}
        self._video_pts_ns = 0
        """Of the latest picture, on the producer's clock."""
        self._video_duration_ns = 0

    def place(self, header: PacketHeader) -> Place | None:
        """The times of a packet, or None when it is dropped, which is counted by reason."""
        reason = self._lost(header) or (self._video(header) if header.track == "video" else self._audio(header))
        if reason:
            self._dropped[reason] += 1
            return None
        return Place(header.pts_ns + self._offset_ns, self._last_dts_ns[header.track])

    def gap_ns(self, header: PacketHeader) -> int:
        """How far a picture lies ahead of the one before; 0 before the first."""
        return header.pts_ns - self._video_pts_ns if self._started else 0

    def elapsed_ns(self, header: PacketHeader) -> int:
        """How far into the output a picture lies, whatever its producer's clock does; half a picture early is there."""
        if not self._started:
            return 0
        at_ns = max(header.pts_ns + self._offset_ns, self._last_dts_ns["video"])
        return at_ns - self._start_pts_ns + (header.duration_ns or self._video_duration_ns) // 2

    def _lost(self, header: PacketHeader) -> str:
        run, index = self._last.get(header.track, (header.run, header.index - 1))
        if run == header.run and header.index <= index:
            return "repeated"
        self._last[header.track] = (header.run, header.index)
        if header.track == "video" and (run != header.run or header.index != index + 1):
            self._wait_for_key = True
        return ""

    def _video(self, header: PacketHeader) -> str:
        if self._wait_for_key and not header.key:
            return "waiting_for_key"
        if not self._started:
            self._offset_ns = -header.dts_ns
            self._start_pts_ns = header.pts_ns + self._offset_ns
        last_dts_ns = self._last_dts_ns.get("video", -1)
        if header.dts_ns + self._offset_ns <= last_dts_ns:
            if not header.key:  # within a group of pictures no step can be made good
                self._wait_for_key = True
                return "backwards"
            step_ns = header.duration_ns or self._video_duration_ns or _DEFAULT_DURATION_NS
            self._offset_ns = last_dts_ns + step_ns - header.dts_ns
            self.rebased += 1
        self._started, self._wait_for_key = True, False
        self._last_dts_ns["video"] = header.dts_ns + self._offset_ns
        self._video_pts_ns, self._video_duration_ns = header.pts_ns, header.duration_ns
        return ""

    def _audio(self, header: PacketHeader) -> str:
        if not self._started or header.pts_ns + self._offset_ns < self._start_pts_ns:
            return "before_first_picture"
        if abs(header.pts_ns - self._video_pts_ns) > _MAX_SKEW_NS:
            return "far_from_pictures"
        dts_ns = header.dts_ns + self._offset_ns
        if dts_ns <= self._last_dts_ns.get(header.track, -1):
            return "backwards"
        self._last_dts_ns[header.track] = dts_ns
        return ""

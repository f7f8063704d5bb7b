"""The RTCP of one rendition: by it receivers lay sound beside pictures, and recorders know the time of day."""

import secrets
import time
from collections.abc import Mapping

from schemas.packets import PacketHeader, Track
from services.publisher.rtsp.units import FeedTrack
from shared.rtp.reports import goodbye, sender_report

# The wall clock of reports follows the captured times so slowly that receivers see no jump: 200 ppm.
_WALL_STEP_NS = 1_000_000
_WALL_JUMP_NS = 1_000_000_000  # a clock that was set: follow at once


class SenderReports:
    """Ties the clocks of all tracks to one wall clock, so that it moves none against another."""

    def __init__(self, tracks: Mapping[Track, FeedTrack]) -> None:
        """`tracks`: of the feed, as they come."""
        self._tracks = tracks
        self._cname = secrets.token_hex(8)
        self._wall_offset_ns: int | None = None
        """Wall clock minus presentation time, as reports tell it."""
        self._measured_offset_ns = 0

    def measure(self, header: PacketHeader) -> None:
        """A picture has come: it tells both clocks."""
        self._measured_offset_ns = header.captured_ns - header.pts_ns

    def follow(self) -> None:
        """Once in each interval: a step towards what was measured."""
        if self._wall_offset_ns is not None:
            error_ns = self._measured_offset_ns - self._wall_offset_ns
            if abs(error_ns) <= _WALL_JUMP_NS:
                self._wall_offset_ns += max(-_WALL_STEP_NS, min(_WALL_STEP_NS, error_ns))

    def now(self) -> list[tuple[Track, bytes]]:
        """A report of each track."""
        now_ns = time.time_ns()
        pts_ns = now_ns - self._wall_offset()
        return [
            (
                track.track,
                sender_report(
                    ssrc=track.ssrc,
                    wall_ns=now_ns,
                    rtp_timestamp=track.timestamp_at(pts_ns),
                    packets=track.packets,
                    octets=track.octets,
                    cname=self._cname,
                ),
            )
            for track in self._tracks.values()
        ]

    def goodbyes(self) -> list[tuple[Track, bytes]]:
        """The end of each track."""
        return [(track.track, goodbye(track.ssrc, self._cname)) for track in self._tracks.values()]

    def _wall_offset(self) -> int:
        measured, offset = self._measured_offset_ns, self._wall_offset_ns
        if offset is None or abs(measured - offset) > _WALL_JUMP_NS:
            self._wall_offset_ns = offset = measured
        return offset

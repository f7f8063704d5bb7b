"""One track that a viewer is sent: its numbers and its time across renditions, and what became of it."""

from typing import Literal

from services.webrtc_gateway.congestion.repairs import Repairs
from services.webrtc_gateway.congestion.tally import TrackTally
from services.webrtc_gateway.egress.fanout import RenditionFeed
from services.webrtc_gateway.egress.history import TrackHistory
from services.webrtc_gateway.egress.packetizer import RtpUnit
from services.webrtc_gateway.egress.rtp import RtpTrack
from services.webrtc_gateway.signalling.offer import Media

TrackKind = Literal["video", "audio"]

_MOMENT_SECONDS = 1.0  # encoders are not further apart; what is, was dated anew


class SentTrack:
    """An RtpTrack with what it is, and its tally."""

    def __init__(self, kind: TrackKind, rtp: RtpTrack, media: Media, repairs: Repairs) -> None:
        """`media`: the m-line of the offer that it is for."""
        self.kind, self.rtp, self.mid = kind, rtp, media.mid
        self.mime_type = media.codec.mimeType if media.codec else ""
        self.repairs = repairs
        self.tally = TrackTally()
        self._last_time: int | None = None

    def history(self, feed: RenditionFeed) -> TrackHistory:
        return feed.video if self.kind == "video" else feed.audio

    def follows(self, unit: RtpUnit) -> bool:
        """The unit is the next one; else `restart` with it."""
        return self.rtp.first_number is not None and unit.number == self.rtp.next_number

    def was_sent(self, unit: RtpUnit) -> bool:
        """What the unit has was sent a moment ago, in a unit of another rendition."""
        if self._last_time is None:
            return False
        behind = self._last_time - (unit.timestamp + self.rtp.timestamp_offset)
        return 0 <= behind < _MOMENT_SECONDS * self.rtp.clock_rate_hz

    def restart(self, unit: RtpUnit) -> None:
        """Go on with `unit`. Only here may the offset of time change: what was sent is not sent again after it."""
        due = unit.timestamp + self.rtp.timestamp_offset
        if self._last_time is not None and due <= self._last_time:  # renditions are not equally far
            self.rtp.timestamp_offset += self._last_time + 1 - due
        self.rtp.restart(unit)

    def cross(self, before: RenditionFeed, after: RenditionFeed) -> None:
        """Leave one rendition for another: one picture has the same time in both."""
        self.rtp.timestamp_offset += self.history(before).clock.at(0) - self.history(after).clock.at(0)
        self.rtp.first_number = None

    def sent(self, unit: RtpUnit, *, whole: bool) -> None:
        """Some of the unit is sent, or all that was left of it."""
        self._last_time = unit.timestamp + self.rtp.timestamp_offset
        if whole:
            self.tally.sent(unit.key)

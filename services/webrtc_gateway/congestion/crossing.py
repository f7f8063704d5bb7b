"""A viewer on its way to another rendition of its stream: it goes on with the old one until the new one's key frame."""

import asyncio
from collections.abc import Callable

from schemas.packets import VideoCodec
from services.webrtc_gateway.egress.fanout import FRESH_GROUP_SECONDS, RenditionFeed
from services.webrtc_gateway.egress.key_frames import KEY_REQUEST_SECONDS
from services.webrtc_gateway.egress.packetizer import RtpUnit


class Crossing:
    """Stands in the new feed for the viewer; see `fanout.FeedViewer`."""

    def __init__(self, feed: RenditionFeed, codec: VideoCodec | None, cross: Callable[[RtpUnit], None]) -> None:
        """`codec` is what the viewer was promised. `cross` is called once, with the unit to begin with, in the middle
        of that unit's round."""
        self._feed, self._codec, self._cross = feed, codec, cross
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True: the viewer is over there. False: the new feed has ended, or its pictures are of another codec."""
        feed.add(self)
        feed.request_key_frame(FRESH_GROUP_SECONDS)
        self._timer = asyncio.get_running_loop().call_later(KEY_REQUEST_SECONDS, self._ask_again)

    def send_video(self, unit: RtpUnit) -> None:
        if self._feed.codec != self._codec:
            self.feed_ended("codec_changed")
        elif unit.key and not self.done.done():
            self._feed.remove(self)
            self._cross(unit)
            self.done.set_result(True)

    def _ask_again(self) -> None:
        """A producer that just begins with this rendition may have made the first one before anybody could see it."""
        if not self.done.done():
            self._feed.request_key_frame()
            self._timer = asyncio.get_running_loop().call_later(KEY_REQUEST_SECONDS, self._ask_again)

    def send_audio(self, unit: RtpUnit) -> None:
        """Sound crosses with the picture."""

    def lost_video(self) -> None:
        self._feed.request_key_frame()

    def pace(self) -> bool:
        return False

    def feed_ended(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_result(False)

    def give_up(self) -> None:
        self._timer.cancel()
        self._feed.remove(self)
        self.done.cancel()

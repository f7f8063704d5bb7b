"""The pictures of one viewer: from a key picture on, a burst at a time, and all of them or the key pictures only."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import FRESH_GROUP_SECONDS, MAX_GROUP_PACKETS, RenditionFeed
from services.webrtc_gateway.egress.packetizer import RtpUnit
from services.webrtc_gateway.egress.sender import MediaSender
from services.webrtc_gateway.egress.sent_track import SentTrack
from services.webrtc_gateway.transport.srtp import BATCH_PACKETS

# The longest group of pictures that a viewer starts with, and what comes while it is sent; more: the path is too slow.
MAX_BACKLOG_PACKETS = 2 * MAX_GROUP_PACKETS
# A picture that waits longer for a slow connection is no news; a key picture is waited for, or none would ever arrive.
MAX_WAIT_SECONDS = 1.0


class PictureFlow:
    """What is on its way to a viewer, and what it waits for; each method is given the feed that the viewer is of."""

    def __init__(
        self, track: SentTrack, sender: MediaSender, counters: EgressCounters, began: Callable[[], None]
    ) -> None:
        """`began` is called as a key picture goes out that the viewer starts with, or starts again."""
        self.playing = False
        """A key picture has gone out and nothing is missing since; else the next one is waited for."""
        self.keys_only = False
        """The line carries no more than the key pictures; see `send_keys_only`."""
        self.withheld = False
        """The viewer shall have sound alone for now; see `withhold`."""
        self._track, self._sender, self._counters, self._began = track, sender, counters, began
        self._backlog: deque[tuple[RtpUnit, int, float]] = deque()
        """Units with how many of their packets are sent, and since when they wait, in monotonic seconds."""
        self._backlog_packets = 0

    def join(self, feed: RenditionFeed) -> None:
        """Begin with what the feed has for new viewers, or with the next key picture."""
        if self.withheld:
            return
        group = feed.starting_group()
        if not group:
            feed.request_key_frame(FRESH_GROUP_SECONDS)
            return
        self._start(group[0])
        self._push(group, feed)

    def send(self, unit: RtpUnit, feed: RenditionFeed) -> None:
        """Take one unit of the feed; never waits."""
        if self.withheld:
            return
        if unit.key and (self.keys_only or not self.playing):
            self.stop()
            self._start(unit)
        elif self.keys_only:
            self._counters.drops["thin_line"] += 1
            return
        if not self.playing:
            return
        if self._backlog_packets + len(unit.payloads) > MAX_BACKLOG_PACKETS:
            self._counters.drops["backlog"] += self._backlog_packets + len(unit.payloads)
            self.lost(feed)
            return
        self._push((unit,), feed)

    def lost(self, feed: RenditionFeed) -> None:
        """Something is missing before the next unit: wait for a key picture, and ask for it."""
        if self.playing:
            self.stop()
            feed.request_key_frame()

    def pace(self, feed: RenditionFeed) -> bool:
        """Send a little more of the backlog; True while there is some left."""
        if not self.playing:
            return False
        if self._sender.full:
            self._give_up(feed)
            return bool(self._backlog)
        left = BATCH_PACKETS
        while self._backlog and left:
            unit, start, since_s = self._backlog[0]
            count = len(unit.payloads)
            stop = min(count, start + left)
            sent = self._sender.send(self._track.rtp, feed.video, unit, start, stop)
            self._backlog_packets -= sent
            left -= sent
            if sent:
                self._track.sent(unit, whole=start + sent == count)
            if start + sent == count:
                self._backlog.popleft()
            else:
                self._backlog[0] = (unit, start + sent, since_s)
            if sent < stop - start:
                break  # the socket is full; go on at the next turn
        return bool(self._backlog)

    def stop(self) -> None:
        """Forget what is not sent yet, and wait for a key picture."""
        self._backlog.clear()
        self._backlog_packets = 0
        self.playing = False

    def send_keys_only(self, keys_only: bool, feed: RenditionFeed) -> bool:
        """Send pictures that need no other ones, and nothing between them; or, from the next one on, all again.

        Whether that is a change.
        """
        if keys_only == self.keys_only:
            return False
        self.keys_only = keys_only
        was_playing = self.playing
        self.stop()
        if was_playing and not keys_only:
            feed.request_key_frame()
        return True

    def withhold(self, withheld: bool, feed: RenditionFeed | None) -> bool:
        """Send no pictures; or, from the next key picture on, all again, which is asked for where there is a feed.

        Whether that is a change.
        """
        if withheld == self.withheld:
            return False
        self.withheld = withheld
        self.stop()
        if not withheld and feed is not None:
            self.join(feed)
        return True

    def _start(self, unit: RtpUnit) -> None:
        self._track.restart(unit)
        self.playing = True
        self._began()

    def _give_up(self, feed: RenditionFeed) -> None:
        """Drop what has waited too long for a slow connection, and all behind it."""
        unit, _, since_s = self._backlog[0] if self._backlog else (None, 0, 0.0)
        if unit is not None and not unit.key and time.monotonic() - since_s > MAX_WAIT_SECONDS:
            self._counters.drops["slow_connection"] += self._backlog_packets
            self.lost(feed)

    def _push(self, units: Sequence[RtpUnit], feed: RenditionFeed) -> None:
        idle = not self._backlog
        now_s = time.monotonic()
        self._backlog.extend((unit, 0, now_s) for unit in units)
        self._backlog_packets += sum(len(unit.payloads) for unit in units)
        if idle and self.pace(feed):
            feed.start_pacing()

"""A viewer that goes from one rendition to another keeps its numbers and its time, whatever the two feeds count."""

import asyncio
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from schemas.packets import PacketHeader
from services.webrtc_gateway.congestion.crossing import Crossing
from services.webrtc_gateway.congestion.repairs import Repairs
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import RenditionFeed
from services.webrtc_gateway.egress.key_frames import KEY_REQUEST_SECONDS
from services.webrtc_gateway.egress.packetizer import MAX_PAYLOAD_BYTES, RtpUnit
from services.webrtc_gateway.egress.sent_track import SentTrack
from services.webrtc_gateway.signalling.offer import Media, match_offer, read_offer
from tests.support.light_peer import LightPeer
from tests.support.pace import patience

pytestmark = pytest.mark.unit
PICTURE_NS = 40_000_000
PICTURE_TICKS = int(Fraction(PICTURE_NS, 10**9) * 90_000)


class Producer:
    def __init__(self) -> None:
        self.asked = 0

    def request_key_frame(self) -> None:
        self.asked += 1


class Watcher:
    """Sends what comes to a track, as a viewer does, and notes each unit's sequence number and time."""

    def __init__(self) -> None:
        with LightPeer() as peer:
            offer = match_offer(read_offer(peer.offer), ("video",), "h264")
        media: Media = offer.media[0]
        assert media.track is not None
        self.track = SentTrack("video", media.track, media, Repairs(Counter()))
        self.feed: RenditionFeed | None = None
        self.sent: list[tuple[int, int, int]] = []
        """Of each unit its last number, its packets, its time."""

    def send_video(self, unit: RtpUnit) -> None:
        track, rtp = self.track, self.track.rtp
        if not track.follows(unit):
            track.restart(unit)
        count = len(unit.payloads)
        rtp.sent(unit.number + count, count, 0)
        track.sent(unit, whole=True)
        self.sent += [
            (sequence, count, unit.timestamp + rtp.timestamp_offset)
            for sequence in range(1 << 16)
            if (number := rtp.number_of(sequence)) is not None and number == unit.number + count - 1
        ]

    def send_audio(self, unit: RtpUnit) -> None: ...

    def lost_video(self) -> None: ...

    def pace(self) -> bool:
        return False

    def feed_ended(self, reason: str) -> None: ...

    def cross(self, to: RenditionFeed, unit: RtpUnit) -> None:
        assert self.feed is not None
        self.feed.remove(self)
        to.add(self)
        self.track.cross(self.feed, to)
        self.feed = to
        self.send_video(unit)


def header(index: int, **changes: Any) -> PacketHeader:
    fields: dict[str, Any] = {"stream": "cam0", "rendition": "main", "track": "video", "codec": "h264", "epoch": 1}
    fields |= {"sequence": index, "run": 1, "index": index, "captured_ns": 1, "key": False}
    fields |= {"pts_ns": index * PICTURE_NS, "dts_ns": index * PICTURE_NS}
    return PacketHeader(**{**fields, **changes})


def picture(packets: int) -> memoryview:
    return memoryview(b"\x00\x00\x00\x01\x41" + b"\x01" * (MAX_PAYLOAD_BYTES * packets - packets * 4))


def feed() -> tuple[RenditionFeed, Producer]:
    made, producer = RenditionFeed("cam0", EgressCounters()), Producer()
    made.begin(producer, True)
    made.go_live()
    return made, producer


@pytest.mark.parametrize("behind", [0, 1, 2])
async def test_numbers_and_time_go_on(behind: int) -> None:
    """`behind`: so many pictures is the new rendition's encoder later than the old one's."""
    (main, _), (low, low_producer), watcher = feed(), feed(), Watcher()
    watcher.feed = main
    main.add(watcher)
    main.deliver(header(1, key=True), picture(3))
    # The new feed has counted other packets, and its producer was started anew with earlier times.
    low.deliver(header(500, key=True, pts_ns=9_000 * PICTURE_NS), picture(1))
    low.deliver(header(1, run=2, key=True, pts_ns=PICTURE_NS), picture(2))
    crossing = Crossing(low, "h264", lambda unit: watcher.cross(low, unit))
    assert low_producer.asked == 1
    for index in range(2, 6):
        main.deliver(header(index), picture(2))
        if index - behind >= 2:
            low.deliver(header(index - behind, run=2, key=index - behind == 3), picture(1))
        await asyncio.sleep(0)
        if crossing.done.done():
            break
    assert crossing.done.result()
    for index in range(4, 7):
        low.deliver(header(index, run=2), picture(1))
    for (before, _, _), (sequence, packets, _) in pairwise(watcher.sent):
        assert (sequence - before) & 0xFFFF == packets, "no number is missing or used twice"
    steps = [after - before for (_, _, before), (_, _, after) in pairwise(watcher.sent)]
    assert len(steps) == 6 + behind, "of main until the crossing, and four of low"
    assert min(steps) > 0, "time never stands still"
    assert steps[-1] == steps[0] == PICTURE_TICKS
    assert watcher.feed is low
    assert main.viewers == ()
    assert low.viewers == (watcher,)


async def test_a_key_frame_that_nobody_saw_is_asked_for_again() -> None:
    low, producer = feed()
    crossing = Crossing(low, "h264", lambda unit: None)
    assert producer.asked == 1
    async with patience(2):
        while producer.asked < 3:
            await asyncio.sleep(0.01)
    low.deliver(header(1, key=True), picture(1))
    assert crossing.done.result()
    asked = producer.asked
    crossing.give_up()
    await asyncio.sleep(KEY_REQUEST_SECONDS * 1.5)
    assert producer.asked == asked


async def test_pictures_of_another_codec_are_not_crossed_to() -> None:
    (low, _), crossed = feed(), []
    crossing = Crossing(low, "h264", crossed.append)
    low.deliver(header(1, key=True, codec="vp8"), memoryview(b"\x00\x01\x02\x03" * 9))
    assert crossing.done.result() is False
    assert crossed == []
    crossing.give_up()
    assert low.viewers == ()

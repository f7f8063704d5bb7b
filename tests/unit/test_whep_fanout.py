"""One rendition to many viewers: where a viewer starts, what a gap does, and how packets are numbered."""

import asyncio
import struct
import time
from typing import Any

import pytest
from aiortc.rtp import RtpPacket, unpack_header_extensions

from schemas.packets import PacketHeader
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import RenditionFeed
from services.webrtc_gateway.egress.history import HISTORY_PACKETS
from services.webrtc_gateway.egress.key_frames import KEY_REQUEST_SECONDS
from services.webrtc_gateway.egress.packetizer import MAX_EXTENSION_BYTES, MAX_PAYLOAD_BYTES, SRTP_TAG_BYTES, RtpUnit
from services.webrtc_gateway.egress.rtcp import parse_feedback, sender_report
from services.webrtc_gateway.egress.rtp import HeaderExtensions, RtpTrack
from services.webrtc_gateway.transport.srtp import PacketBatch
from shared.rtp.clock import RtpClock, ntp_timestamp

pytestmark = pytest.mark.unit
PICTURE_NS = 33_333_333


class Producer:
    def __init__(self) -> None:
        self.asked = 0

    def request_key_frame(self) -> None:
        self.asked += 1


class Watcher:
    """A viewer that writes down what it is told."""

    def __init__(self) -> None:
        self.units: list[RtpUnit] = []
        self.lost = 0
        self.ended = ""

    def send_video(self, unit: RtpUnit) -> None:
        self.units.append(unit)

    def send_audio(self, unit: RtpUnit) -> None:
        self.units.append(unit)

    def lost_video(self) -> None:
        self.lost += 1

    def pace(self) -> bool:
        return False

    def feed_ended(self, reason: str) -> None:
        self.ended = reason


def header(index: int, **changes: Any) -> PacketHeader:
    fields: dict[str, Any] = {
        "stream": "cam0",
        "rendition": "main",
        "track": "video",
        "codec": "h264",
        "epoch": 1,
        "sequence": index,
        "run": 1,
        "index": index,
        "pts_ns": index * PICTURE_NS,
        "dts_ns": index * PICTURE_NS,
        "captured_ns": index * PICTURE_NS,
    }
    return PacketHeader(**{**fields, **changes})


def picture(packets: int = 1) -> memoryview:
    return memoryview(
        b"\x00\x00\x00\x01\x41" + b"\x01" * (MAX_PAYLOAD_BYTES * packets - MAX_EXTENSION_BYTES - packets * 4)
    )


def feed_with(watcher: Watcher, *, forces: bool = True) -> tuple[RenditionFeed, Producer, EgressCounters]:
    counters, producer = EgressCounters(), Producer()
    feed = RenditionFeed("cam0", counters)
    feed.begin(producer, forces)
    feed.go_live()
    feed.add(watcher)
    return feed, producer, counters


async def test_cached_comes_before_what_was_delivered_meanwhile_and_only_once() -> None:
    feed, watcher = RenditionFeed("cam0", EgressCounters()), Watcher()
    feed.add(watcher)
    for index in (3, 4):
        feed.deliver(header(index), picture())
    assert watcher.units == []
    cached = [(header(index, key=index == 1), picture()) for index in (1, 2, 3)]
    feed.begin(Producer(), False)
    feed.replay(cached[:2])
    feed.deliver(header(5), picture())
    feed.replay(cached[2:])
    feed.go_live()
    assert [unit.number for unit in watcher.units] == [0, 1, 2, 3, 4]
    assert [unit.captured_ns // PICTURE_NS for unit in watcher.units] == [1, 2, 3, 4, 5]
    assert watcher.lost == 0
    assert feed.starting_group() == tuple(watcher.units)


@pytest.mark.parametrize("following", [{"index": 3}, {"index": 2, "run": 2}])
async def test_a_gap_or_a_new_run_is_told(following: dict[str, int]) -> None:
    watcher = Watcher()
    feed, _, counters = feed_with(watcher)
    feed.deliver(header(1, key=True), picture())
    feed.deliver(header(**following), picture())
    assert watcher.lost == 1
    assert counters.drops["gap"] == 1
    assert feed.starting_group() == ()


async def test_an_old_group_starts_only_viewers_of_cameras() -> None:
    for forces, units in ((True, 0), (False, 2)):
        feed, _, _ = feed_with(Watcher(), forces=forces)
        feed.deliver(header(1, key=True), picture())
        assert len(feed.starting_group()) == 1, "a fresh key frame serves everybody"
        await asyncio.sleep(0.15)
        feed.deliver(header(2), picture())
        assert len(feed.starting_group()) == units


class Broken(Watcher):
    """A viewer in which one thing fails, as with a payload type that fits no packet."""

    def __init__(self, fails: str) -> None:
        super().__init__()
        self.fails = fails

    def _fail_if(self, name: str) -> None:
        if self.fails in (name, "everything"):
            raise struct.error("ubyte format requires 0 <= number <= 255")

    def send_video(self, unit: RtpUnit) -> None:
        self._fail_if("video")

    def send_audio(self, unit: RtpUnit) -> None:
        self._fail_if("audio")

    def lost_video(self) -> None:
        self._fail_if("lost")

    def pace(self) -> bool:
        self._fail_if("pace")
        return False

    def feed_ended(self, reason: str) -> None:
        self._fail_if("end")
        super().feed_ended(reason)


@pytest.mark.parametrize("fails", ["video", "audio", "lost", "pace", "everything"])
async def test_a_viewer_that_fails_is_closed_and_the_others_go_on(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    first, last, broken = Watcher(), Watcher(), Broken(fails)
    feed, _, _ = feed_with(first)
    feed.add(broken)
    feed.add(last)
    feed.deliver(header(1, key=True), picture())
    feed.deliver(header(1, track="opus", codec="opus"), memoryview(b"sound"))
    feed.deliver(header(3), picture())  # after a gap
    feed.start_pacing()
    await asyncio.sleep(0.02)
    assert feed.viewers == (first, last)
    assert broken.ended == ("" if fails == "everything" else "internal_error")
    for watcher in (first, last):
        assert (len(watcher.units), watcher.lost, watcher.ended) == (3, 1, "")
    assert "a viewer of cam0 failed" in caplog.text
    assert "ubyte format" in caplog.text, "with its traceback"


async def test_key_frames_are_asked_for_now_and_then() -> None:
    feed, producer, _ = feed_with(Watcher())
    for _ in range(20):
        feed.request_key_frame()
    assert producer.asked == 1
    await asyncio.sleep(KEY_REQUEST_SECONDS + 0.1)
    assert producer.asked == 2, "a request in between is made up for"
    feed.request_key_frame()
    feed.deliver(header(1, key=True), picture())
    await asyncio.sleep(KEY_REQUEST_SECONDS + 0.1)
    assert producer.asked == 2, "the key frame came by itself"


async def test_reordered_pictures_end_the_viewers() -> None:
    watcher = Watcher()
    feed, _, _ = feed_with(watcher)
    feed.deliver(header(1, key=True, reordered=True), picture())
    assert watcher.ended == "unsupported"
    assert feed.unsupported == "it has B-frames"


async def test_rubbish_is_counted_and_nothing_else() -> None:
    watcher = Watcher()
    feed, _, counters = feed_with(watcher)
    feed.deliver(header(1, key=True), memoryview(b"no start code"))
    feed.deliver(header(1, track="opus", codec="opus"), memoryview(b""))
    feed.deliver(header(1, track="aac", codec="aac"), memoryview(b"x"))
    assert counters.drops["malformed"] == 2
    assert watcher.units == []


async def test_a_broken_picture_is_a_missing_one() -> None:
    watcher = Watcher()
    feed, _, counters = feed_with(watcher)
    feed.deliver(header(1, key=True, codec="av1"), memoryview(b"\x0a\x01\x00\x32\x02\x01\x02"))
    feed.deliver(header(2, codec="av1"), memoryview(b"\x32\x09\x01"))
    assert (len(watcher.units), watcher.lost) == (1, 1), "an OBU that is cut short"
    assert counters.drops == {"malformed": 1}
    assert feed.starting_group() == ()


async def test_history_finds_a_packet_until_it_is_overwritten() -> None:
    feed, _, _ = feed_with(Watcher())
    for index in range(1, 600):
        feed.deliver(header(index, key=index == 1), picture(2))
    last = feed.video.next_number - 1
    found = feed.video.find(last - HISTORY_PACKETS + 1)
    assert found is not None
    assert found[0].number + found[1] == last - HISTORY_PACKETS + 1
    assert feed.video.find(last - HISTORY_PACKETS) is None
    assert feed.video.find(last + 1) is None


def written(track: RtpTrack, unit: RtpUnit, start: int, stop: int, batch: PacketBatch) -> list[bytes]:
    """Packets as they are before SRTP, whose tag is left room for."""
    packets: list[bytes] = []
    while start + len(packets) < stop:
        track.write(unit, start + len(packets), stop, batch, SRTP_TAG_BYTES)
        sizes = batch.lengths[: batch.count].tolist()
        packets += [bytes(batch.view[at * batch.size :][:size]) for at, size in enumerate(sizes)]
    return packets


def test_sequence_numbers_go_on_over_what_was_left_out() -> None:
    track, batch = RtpTrack(96, 90_000, HeaderExtensions("0", None, None, None)), PacketBatch()
    sent: list[int] = []
    for number, packets in ((65_530, 3), (65_533, 2), (70_000, 3)):
        unit = RtpUnit(number, (b"abc",) * packets, 1, True, 0, 0.0, False)
        if number != track.next_number:
            track.restart(unit)
        parsed = [RtpPacket.parse(packet) for packet in written(track, unit, 0, packets, batch)]
        track.sent(number + packets, packets, packets * 3)
        assert [packet.marker for packet in parsed] == [*[0] * (packets - 1), 1]
        sent += [packet.sequence_number for packet in parsed]
    assert sent == [(sent[0] + i) & 0xFFFF for i in range(8)]
    assert track.number_of(sent[7]) == 70_002
    assert track.number_of(sent[5]) == 70_000
    assert track.number_of(sent[4]) is None, "before the restart"
    assert track.number_of((sent[7] + 1) & 0xFFFF) is None, "not sent yet"


def test_a_retransmission_is_the_same_packet() -> None:
    """SRTP uses one keystream per sequence number: two different packets under it would give both away."""
    track, batch = RtpTrack(96, 90_000, HeaderExtensions("0", 9, 5, 12)), PacketBatch()
    unit = RtpUnit(0, (b"first", b"second"), 7, True, 1_700_000_000_500_000_000, 0.0, True)
    track.restart(unit)
    first = written(track, unit, 0, 2, batch)
    track.sent(2, 2, 11)
    for index in (0, 1):
        assert written(track, unit, index, index + 1, batch) == [first[index]]


def test_header_extensions_are_as_specified() -> None:
    captured_ns = 1_700_000_000_500_000_000
    track, batch = RtpTrack(96, 90_000, HeaderExtensions("0", 9, 5, 12)), PacketBatch()
    (packet,) = written(track, RtpUnit(0, (b"x",), 7, True, captured_ns, 0.0, True), 0, 1, batch)
    profile, words = struct.unpack_from("!HH", packet, 12)
    assert len(packet) == 12 + 4 + words * 4 + 1
    extensions = dict(unpack_header_extensions(profile, packet[16 : 16 + words * 4]))
    assert extensions == {9: b"0", 5: b"\x00\x00\x00", 12: ntp_timestamp(captured_ns).to_bytes(8, "big")}


def test_ntp_time() -> None:
    assert ntp_timestamp(0) == 2_208_988_800 << 32
    assert ntp_timestamp(1_500_000_000) & 0xFFFFFFFF == 1 << 31


def test_time_goes_on_when_a_new_run_starts_earlier() -> None:
    clock = RtpClock(90_000)
    before = clock.timestamp(2_000_000_000, False)
    assert before == 180_000
    after = clock.timestamp(1_000_000_000, True)
    assert 0 < after - before < 10
    assert clock.timestamp(1_100_000_000, False) - after == 9_000


def test_sender_reports_put_both_tracks_on_one_clock() -> None:
    now_ns = time.time_ns()
    for rate_hz in (90_000, 48_000):
        track, clock = RtpTrack(96, rate_hz, HeaderExtensions("0", None, None, None)), RtpClock(rate_hz)
        stamp = (clock.timestamp(now_ns - 500_000_000, False) + track.timestamp_offset) & 0xFFFFFFFF
        report = sender_report(track, clock, now_ns, "name")
        ntp, rtp_time = struct.unpack_from("!QI", report, 8)
        assert ntp == ntp_timestamp(now_ns)
        assert abs(((rtp_time - stamp) & 0xFFFFFFFF) - rate_hz // 2) <= 1


def test_feedback_of_every_kind() -> None:
    nack = struct.pack("!BBHIIHH", 0x81, 205, 3, 1, 77, 1000, 0b101)
    pli = struct.pack("!BBHII", 0x81, 206, 2, 1, 78)
    fir = struct.pack("!BBHIIIBBH", 0x84, 206, 4, 1, 0, 79, 1, 0, 0)
    report = struct.pack("!BBHIIIIIII", 0x81, 201, 7, 1, 77, 64 << 24, 0, 0, 0, 0)
    feedback = parse_feedback(report + nack + pli + fir)
    assert feedback[77].lost == [1000, 1001, 1003]
    report = feedback[77].report
    assert report is not None
    assert report.fraction_lost == 0.25
    assert (feedback[77].key_frame, feedback[78].key_frame, feedback[79].key_frame) == (False, True, True)

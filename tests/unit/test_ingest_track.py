"""A publisher's track: packets that are lost, late, mixed up and repeated become whole access units, or none."""

from dataclasses import replace
from itertools import pairwise

import pytest

from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.media_time import PublisherClock
from services.webrtc_gateway.ingest.reorder import ReorderBuffer
from services.webrtc_gateway.ingest.rtp_packet import RtpPacket
from services.webrtc_gateway.ingest.terms import TrackTerms
from services.webrtc_gateway.ingest.track import MediaUnit, ReceivingTrack
from shared.media.bitstream import is_key, nal_units
from shared.rtp.clock import ntp_timestamp
from tests.support.rtp_sender import CLOCK_HZ, FPS, PAYLOAD_TYPE, SSRC, Path, h264_pictures, rtp_packets

RTX_TYPE = PAYLOAD_TYPE + 1
TERMS = TrackTerms("video", "h264", "0", PAYLOAD_TYPE, CLOCK_HZ, RTX_TYPE)
SOUND = TrackTerms("opus", None, "1", 111, 48_000)
TIMEOUT_S = 0.6  # of virtual time: longer than a lost packet is waited for


class Receiver:
    def __init__(self, terms: TrackTerms = TERMS) -> None:
        self.units: list[MediaUnit] = []
        self.counters = IngestCounters()
        self.track = ReceivingTrack(terms, PublisherClock(), self.counters, self.units.append)
        self.now_s = 0.0

    def receive(self, packet: RtpPacket) -> list[int]:
        """A packet, a millisecond later; what is asked for again."""
        self.now_s += 0.001
        self.track.receive(packet, self.now_s)
        return self.track.poll(self.now_s)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.track.poll(self.now_s)


def nals(unit: bytes) -> list[bytes]:
    return [unit[start:end] for _, start, end in nal_units(unit, "h264")]


def test_all_that_is_sent_comes_out_at_once() -> None:
    receiver, pictures = Receiver(), h264_pictures()
    sent = 0
    for packet in rtp_packets(pictures):
        receiver.receive(packet)
        sent += packet.marker
        assert len(receiver.units) == sent, "a picture waits for no other"
    assert [nals(unit.data) for unit in receiver.units] == [nals(picture) for picture in pictures]
    assert [unit.key for unit in receiver.units] == [is_key(picture, "h264") for picture in pictures]
    assert [unit.index for unit in receiver.units] == list(range(1, len(pictures) + 1))
    distances = {b.pts_ns - a.pts_ns for a, b in pairwise(receiver.units)}
    assert distances <= {33_333_333, 33_333_334}, "across the wrap of RTP time too"
    assert not any(unit.reordered for unit in receiver.units)


@pytest.mark.parametrize("by_retransmission_stream", [False, True])
def test_what_is_lost_is_asked_for_and_put_in_its_place(by_retransmission_stream: bool) -> None:
    receiver, pictures = Receiver(), h264_pictures()
    packets = rtp_packets(pictures)
    by_sequence = {packet.sequence: packet for packet in packets}
    asked = lost = 0
    again: list[RtpPacket] = []
    for packet, is_lost in Path(loss=0.1, mixed=0.2, repeated=0.1, seed=7).deliver(packets):
        lost += is_lost
        if is_lost:
            continue
        wanted = receiver.receive(packet)
        asked += len(wanted)
        again += [by_sequence[sequence] for sequence in wanted]
        while len(again) > 20:  # a round trip later
            receiver.receive(_resent(again.pop(0)) if by_retransmission_stream else again.pop(0))
    for packet in again:
        receiver.receive(_resent(packet) if by_retransmission_stream else packet)
    for _ in range(20):
        receiver.wait(0.07)
        for sequence in receiver.track.poll(receiver.now_s + 0.07):
            receiver.receive(by_sequence[sequence])
    assert lost > 30
    assert asked >= lost - 3, "the last ones are not known to be missing"
    whole = [nals(unit.data) for unit in receiver.units]
    assert whole == [nals(picture) for picture in pictures][: len(whole)]
    assert len(whole) >= len(pictures) - 2


def _resent(packet: RtpPacket) -> RtpPacket:
    """As RFC 4588 has it."""
    return replace(
        packet,
        ssrc=SSRC + 1,
        payload_type=RTX_TYPE,
        sequence=(packet.sequence * 7) & 0xFFFF,
        payload=packet.sequence.to_bytes(2, "big") + packet.payload,
    )


def test_without_what_is_lost_it_goes_on_at_the_next_key_picture() -> None:
    receiver, pictures = Receiver(), h264_pictures()
    packets = rtp_packets(pictures)
    fifth = [p for p in packets if p.timestamp == packets[0].timestamp + 5 * CLOCK_HZ // FPS][1]
    for packet in packets:
        if packet is fifth:
            continue
        receiver.receive(packet)
        if receiver.track.waits:
            receiver.wait(TIMEOUT_S)
    numbers = [pictures.index(next(p for p in pictures if nals(p) == nals(unit.data))) for unit in receiver.units]
    assert numbers == [*range(5), *range(20, len(pictures))], "nothing that refers to the damaged picture"
    indexes = [unit.index for unit in receiver.units]
    assert indexes[5] > indexes[4] + 1, "who takes them sees that something is missing"
    assert receiver.counters.lost == 1
    assert not receiver.track.needs_key


def test_it_begins_at_a_key_picture() -> None:
    receiver, pictures = Receiver(), h264_pictures()
    for packet in rtp_packets(pictures)[40:]:
        receiver.receive(packet)
    assert receiver.units[0].key
    assert receiver.counters.drops["no_key"] > 0


def test_another_sender_takes_over_only_when_the_first_is_silent() -> None:
    receiver, pictures = Receiver(), h264_pictures()
    first = rtp_packets(pictures)
    for packet in first[:30]:
        receiver.receive(packet)
    before = len(receiver.units)
    other = rtp_packets(pictures, ssrc=SSRC + 5)
    receiver.receive(other[0])
    assert receiver.counters.drops["other_ssrc"] == 1
    receiver.now_s += 2
    for packet in other:
        receiver.receive(packet)
    assert [nals(unit.data) for unit in receiver.units[before:]] == [nals(picture) for picture in pictures]


def test_times_go_on_when_the_next_sender_counts_from_elsewhere() -> None:
    receiver, pictures = Receiver(), h264_pictures()
    first = rtp_packets(pictures)[:90]
    for packet in first:
        receiver.receive(packet)
    receiver.track.report(first[-1].timestamp, ntp_timestamp(first[-1].arrived_ns), first[-1].arrived_ns)
    receiver.now_s += 2
    before = len(receiver.units)
    for packet in rtp_packets(pictures, ssrc=SSRC + 5):
        hours_ago = (packet.timestamp - 5 * 3600 * CLOCK_HZ) % (1 << 32)
        receiver.receive(replace(packet, timestamp=hours_ago, arrived_ns=packet.arrived_ns + 4_000_000_000))
    units = receiver.units[before:]
    assert len(units) == len(pictures)
    assert not any(unit.reordered for unit in units), "a count that begins anew is no picture out of order"
    assert max(abs(unit.pts_ns - unit.arrived_ns) for unit in units) < 1_000_000
    assert all(b.dts_ns - a.dts_ns >= 33_000_000 for a, b in pairwise(units))


def test_sound_is_not_waited_for() -> None:
    receiver = Receiver(SOUND)
    packets = [RtpPacket(111, False, number, number * 960, 9, b"\xf8" + bytes(20), {}, 1) for number in range(20)]
    for packet in packets:
        if packet.sequence == 4:
            continue
        receiver.receive(packet)
        receiver.wait(0.02)
    assert [unit.index for unit in receiver.units] == [1, 2, 3, 4, *range(6, 21)]
    assert {unit.duration_ns for unit in receiver.units} == {20_000_000}
    assert not receiver.track.needs_key


def test_a_unit_that_is_none_is_counted() -> None:
    receiver = Receiver()
    for number, packet in enumerate(rtp_packets(h264_pictures())):
        receiver.receive(replace(packet, payload=b"\x1f") if number == 20 else packet)
    assert receiver.counters.drops["malformed"] == 1


def test_the_buffer_is_bounded_and_survives_a_sender_that_begins_anew() -> None:
    buffer = ReorderBuffer(wait_seconds=1.0, max_packets=50)
    packet = rtp_packets(h264_pictures())[0]
    came = list(buffer.put(replace(packet, sequence=10), 0.0))
    for sequence in range(12, 80):  # 11 is missing for ever
        came += buffer.put(replace(packet, sequence=sequence), 0.0)
    assert came[:2] == [replace(packet, sequence=10), None]
    assert [p.sequence for p in came[2:] if p] == list(range(12, 80))
    assert [p is None for p in buffer.put(replace(packet, sequence=40_000), 0.0)] == [True, False]
    assert not buffer.waits
    assert [p.sequence for p in buffer.put(replace(packet, sequence=40_001), 0.0) if p] == [40_001]

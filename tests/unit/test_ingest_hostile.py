"""Rubbish from a publisher who has the keys: refused, counted, bounded, never a crash."""

import gc
import random
import struct
import time
import tracemalloc
from dataclasses import replace

import pytest

from schemas.packets import VideoCodec
from services.webrtc_gateway.ingest.counters import IngestCounters
from services.webrtc_gateway.ingest.feedback import FeedbackWriter, parse_reports
from services.webrtc_gateway.ingest.media_time import PublisherClock
from services.webrtc_gateway.ingest.reorder import ReorderBuffer
from services.webrtc_gateway.ingest.rtp_packet import RtpPacket, parse_rtp
from services.webrtc_gateway.ingest.terms import TrackTerms
from services.webrtc_gateway.ingest.track import MediaUnit, ReceivingTrack
from tests.support.rtp_sender import CLOCK_HZ, PAYLOAD_TYPE, h264_pictures, rtp_packets

pytestmark = pytest.mark.unit
TERMS = TrackTerms("video", "h264", "0", PAYLOAD_TYPE, CLOCK_HZ, PAYLOAD_TYPE + 1, capture_time_id=3)
BLOCKED_SECONDS = 1.0  # each of these took 2 to 18 s; an event loop that is held up so long is noticed by everybody
KEPT_BYTES = 4 << 20  # of a buffer of 2048 packets of 500 bytes, and what Python keeps for itself


def wire(packet: RtpPacket, extension: bytes = b"") -> bytes:
    header = struct.pack(
        "!BBHII",
        0x90 if extension else 0x80,
        packet.marker << 7 | packet.payload_type,
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
    )
    block = struct.pack("!HH", 0xBEDE, len(extension) // 4) + extension if extension else b""
    return header + block + packet.payload


def test_a_packet_is_read_with_its_extensions_and_without_its_padding() -> None:
    packet = rtp_packets(h264_pictures())[0]
    data = wire(packet, b"\x10A\x00\x00\x37abcdefgh\x00\x00\x00"[:16])
    read = parse_rtp(data)
    assert replace(read, extensions={}, arrived_ns=packet.arrived_ns) == packet
    assert read.extensions == {1: b"A", 3: b"abcdefgh"}
    padded = bytes((data[0] | 0x20,)) + data[1:] + b"\0\0\0\4"
    assert parse_rtp(padded).payload == packet.payload
    two_bytes = bytes((0x90,)) + data[1:12] + b"\x10\x00\x00\x01\x20\x01Z\x00" + packet.payload
    assert parse_rtp(two_bytes).extensions == {0x20: b"Z"}


def test_thousands_of_broken_packets_leave_a_track_that_works() -> None:
    dice = random.Random("rtp")
    counters, units = IngestCounters(), list[MediaUnit]()
    track = ReceivingTrack(TERMS, PublisherClock(), counters, units.append)
    packets = rtp_packets(h264_pictures())
    wires = [wire(packet, b"\x37" + dice.randbytes(8) + b"\0\0\0") for packet in packets]
    tracemalloc.start()
    refused = taken = 0
    now_s = 0.0
    for number in range(8000):
        data = bytearray(dice.choice(wires))
        for _ in range(dice.randint(0, 5)):
            data[dice.randrange(min(len(data), 40))] = dice.randrange(256)
        if dice.random() < 0.2:
            del data[dice.randint(0, len(data)) :]
        if dice.random() < 0.5 and len(data) >= 12:  # with the right ones it gets further
            data[8:12] = packets[0].ssrc.to_bytes(4, "big")
            data[1] = data[1] & 0x80 | dice.choice((PAYLOAD_TYPE, PAYLOAD_TYPE + 1))
        now_s += dice.choice((0.0001, 0.0001, 0.7))
        try:
            packet = parse_rtp(bytes(data))
        except ValueError:
            refused += 1
            continue
        taken += 1
        packet.arrived_ns = int((1000 + now_s) * 1e9)
        track.receive(packet, now_s)
        assert len(track.poll(now_s)) <= 256
        if number % 50 == 0:
            track.report(dice.getrandbits(32), dice.getrandbits(64), packet.arrived_ns)
            assert track.reception(packet.arrived_ns) is None or bytes(track.reception(packet.arrived_ns))  # type: ignore[arg-type]
        units.clear()
    gc.collect()
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert min(refused, taken) > 300
    assert kept_bytes < KEPT_BYTES
    now_s += 10
    for packet in rtp_packets(h264_pictures(), ssrc=77):
        packet.arrived_ns = int((1000 + now_s) * 1e9)
        track.receive(packet, now_s)
        now_s += 0.001
    assert len(units) == len(h264_pictures()), "a good sender is received as if nothing had been"


def test_broken_reports_are_refused() -> None:
    dice = random.Random("rtcp")
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, 5, 1 << 63, 9, 1, 1) + FeedbackWriter().goodbye()
    assert [(r.ssrc, r.ntp, r.timestamp) for r in parse_reports(report).senders] == [(5, 1 << 63, 9)]
    refused = 0
    for _ in range(2000):
        data = bytearray(report)
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        del data[dice.randint(0, len(data)) :]
        try:
            parse_reports(bytes(data))
        except (ValueError, struct.error):
            refused += 1
    assert refused > 200


def test_gaps_as_wide_as_they_can_be_are_not_remembered_without_end() -> None:
    for step in (400, 2999):
        buffer = ReorderBuffer(wait_seconds=0.5, max_packets=2048)
        packet = rtp_packets(h264_pictures())[0]
        for number in range(200):
            list(buffer.put(replace(packet, sequence=number * step & 0xFFFF), now_s=0.0))
        assert len(buffer._missing) <= 4000, "of nearly 600,000 that never came"


MANY = b"".join(b"\x00\x01\x67" for _ in range(390))


@pytest.mark.parametrize(
    ("codec", "first", "middle", "last"),
    [
        ("h264", b"\x18" + MANY, b"\x18" + MANY, b"\x65\x88"),
        ("h264", b"\x06" + b"\0\0\1\x06" * 290, b"\x06" + b"\0\0\1\x06" * 290, b"\x65\x88"),
        ("hevc", b"\x60\x01" + b"\x00\x02\x42\x01" * 290, b"\x60\x01" + b"\x00\x02\x42\x01" * 290, b"\x26\x01\x88"),
        ("vp9", b"\x0a\x08\xff" + bytes(455), b"\x0a\x08\xff" + bytes(455), b"\x00\x01"),
        ("av1", b"\x50\x0a" + bytes(510), b"\xd0" + bytes(510), b"\x90" + bytes(510)),
        ("av1", b"\x00" + b"\x02\x32\x00" * 390, b"\x00" + b"\x02\x32\x00" * 390, b"\x10\x32\x00"),
    ],
)
def test_a_giant_access_unit_holds_nothing_up(codec: VideoCodec, first: bytes, middle: bytes, last: bytes) -> None:
    track = ReceivingTrack(replace(TERMS, codec=codec), PublisherClock(), IngestCounters(), lambda unit: None)
    payloads = [first, *[middle] * min(13_000, 8_000_000 // len(middle)), last]
    blocked_s = 0.0
    for number, payload in enumerate(payloads):
        packet = RtpPacket(PAYLOAD_TYPE, payload is last, number, 0, 1, payload, {}, 10**18)
        began_s = time.process_time()
        track.receive(packet, number / 1e5)
        blocked_s = max(blocked_s, time.process_time() - began_s)
    assert blocked_s < BLOCKED_SECONDS

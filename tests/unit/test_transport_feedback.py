"""What transport-wide feedback says, what it says of a line, and that nobody can make it cost much."""

import contextlib
import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webrtc_gateway.congestion.arrivals import read_arrivals
from services.webrtc_gateway.congestion.bandwidth import Bandwidth
from services.webrtc_gateway.egress.rtcp import parse_feedback, split_transport_feedback
from services.webrtc_gateway.egress.sent_record import RECORD_PACKETS, SentRecord
from tests.support.transport_feedback import REFERENCE_US, TICK_US, Bottleneck, write_feedback

pytestmark = pytest.mark.unit


@given(
    gaps=st.lists(st.one_of(st.none(), st.integers(-8000, 8000), st.integers(0, 255)), min_size=1, max_size=200),
    first=st.integers(0, 65_535),
    vectors=st.booleans(),
)
def test_every_time_is_read_as_it_was_written(gaps: list[int | None], first: int, vectors: bool) -> None:
    at, times = 40_000 * REFERENCE_US, {}
    for place, gap in enumerate(gaps):
        if gap is not None:
            at += gap * TICK_US
            times[place] = at
    if not times:
        return
    read = read_arrivals(write_feedback(first, len(gaps), times, vectors=vectors))
    assert read.first == first
    assert [place for place, symbol in enumerate(read.symbols) if symbol] == list(times)
    assert [read.reference * REFERENCE_US + ticks * TICK_US for ticks in read.ticks] == list(times.values())


def test_chunks_are_as_the_draft_draws_them() -> None:
    """Section 3.1: a run of 221 that came, 14 of one bit each, and 7 of two."""
    runs = struct.pack("!HHI", 7, 221, 1 << 8) + b"\x20\xdd" + bytes(221)
    assert read_arrivals(runs).symbols == bytes((1,)) * 221
    one_bit = struct.pack("!HHI", 7, 14, 1 << 8) + bytes((0b10011111, 0b00011100)) + bytes(8)
    assert list(read_arrivals(one_bit).symbols) == [0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0]
    two_bits = struct.pack("!HHI", 7, 7, 1 << 8) + bytes((0b11001101, 0b01010000)) + bytes(5)
    with pytest.raises(ValueError, match="lacks"):
        read_arrivals(two_bits)  # 0 3 1 1 1 0 0: the second symbol is reserved
    two_bits = struct.pack("!HHI", 7, 7, 1 << 8) + bytes((0b11001001, 0b01010000)) + b"\xff\xff\x01\x02\x03"
    read = read_arrivals(two_bits)
    assert list(read.symbols) == [0, 2, 1, 1, 1, 0, 0]
    assert list(read.ticks) == [-1, 0, 2, 5]


@given(st.binary(max_size=80))
def test_what_is_no_feedback_is_refused(information: bytes) -> None:
    with contextlib.suppress(ValueError, struct.error):
        read = read_arrivals(information)
        assert len(read.symbols) <= RECORD_PACKETS
        assert len(read.symbols) - read.symbols.count(0) == len(read.ticks)


def test_the_longest_feedback_costs_less_than_a_picture() -> None:
    hostile = [
        struct.pack("!HHI", 0, 4096, 1) + b"\x00\x01" * 4096,
        struct.pack("!HHI", 0, 4096, 1) + b"\x0f\xff\x0f\xff",
        struct.pack("!HHI", 0, 4096, 1) + b"\x2f\xff\x20\x01" + bytes(4096),
        struct.pack("!HHI", 0, 600, 1) + b"\x42\x58" + b"\x7f\xff" * 600,
    ]
    record = SentRecord()
    record.sent(4096, 1000, 1000)
    bandwidth = Bandwidth(record)
    for information in hostile:
        best_s = 1.0
        for number in range(5):
            began_s = time.thread_time()
            bandwidth.take(read_arrivals(information), 1.0 + number)
            best_s = min(best_s, time.thread_time() - began_s)
        assert best_s < 0.01


def test_feedback_is_taken_out_of_what_others_read() -> None:
    message = struct.pack("!BBHII", 0x80 | 15, 205, 4, 1, 2) + struct.pack("!HHI", 1, 1, 0)[:8]
    padded = struct.pack("!BBHII", 0xA0 | 15, 205, 5, 1, 2) + bytes(8) + b"\0\0\0\4"
    pli = struct.pack("!BBHII", 0x81, 206, 2, 1, 9)
    found, rest = split_transport_feedback(message + pli + padded)
    assert found == [message[12:], bytes(8)]
    assert rest == pli
    assert parse_feedback(rest)[9].key_frame
    cut = struct.pack("!BBHII", 0x80 | 15, 205, 40, 1, 2)
    assert split_transport_feedback(cut) == ([], cut), "cut short: refused as all that is"


def test_the_record_knows_what_it_remembers_and_nothing_else() -> None:
    record = SentRecord()
    record.sent(100, 1200, 400)
    assert record.find(0, 100) == 0
    assert record.find(0, 101) is None, "not sent yet"
    assert record.find(65_530, 3) is None, "never sent"
    assert record.sent_of(np.arange(98, 100))[1].tolist() == [1200, 400]
    for _ in range(3000):
        record.sent(32, 1200, 700)
    assert record.find(record.next_number - 32 & 0xFFFF, 32) == record.next_number - 32
    assert record.find(record.next_number - RECORD_PACKETS - 1 & 0xFFFF, 2) is None, "written over"
    assert record.sent_of(np.arange(record.next_number - 33, record.next_number))[1].tolist() == [
        700,
        *[1200] * 31,
        700,
    ]


def test_a_line_that_carries_all_is_calm_and_known() -> None:
    line = Bottleneck(2_000_000, jitter_s=0.02)
    line.play(8, 1_000_000, key_packets=20)
    assert set(line.signs) == {""}, "key pictures are no queue that stands"
    assert line.bandwidth.calm
    assert line.bandwidth.capacity_bps == pytest.approx(2_000_000, rel=0.15)
    assert line.bandwidth.acknowledged_bps == pytest.approx(1_050_000, rel=0.2)


def test_a_thin_line_is_known_within_a_second_and_what_it_carries() -> None:
    line = Bottleneck(5_000_000)
    line.play(3, 1_500_000)
    assert set(line.signs) == {""}
    line.rate_bps, before = 700_000, len(line.signs)
    line.play(1, 1_500_000)
    assert line.signs[before:].count("delay") >= 1
    line.play(1, 1_500_000)
    assert line.bandwidth.estimate_bps == pytest.approx(700_000, rel=0.1)


def test_a_line_a_little_too_thin_is_known_before_it_loses() -> None:
    line = Bottleneck(1_000_000, queue_s=1.0)
    line.play(6, 1_060_000)
    assert "delay" in line.signs
    assert line.bandwidth.fraction_lost == 0.0


def test_what_radio_loses_is_no_thin_line() -> None:
    line = Bottleneck(3_000_000, loss=0.1, jitter_s=0.02)
    line.play(20, 1_000_000, key_packets=15)
    assert set(line.signs) == {""}
    assert line.bandwidth.fraction_lost == pytest.approx(0.1, abs=0.06)
    worse = Bottleneck(3_000_000, loss=0.5)
    worse.play(5, 1_000_000)
    assert worse.signs[-1] == "loss"


def test_a_queue_that_empties_is_no_thin_line() -> None:
    line = Bottleneck(700_000, queue_s=0.5)
    line.play(3, 1_500_000)
    assert line.signs[-1] == "delay"
    line.now_s += 1 / 30
    line.play(1.2, 400_000)
    assert line.signs[-1] != "delay", "it becomes shorter"
    line.play(1.2, 400_000)
    before = len(line.signs)
    line.play(3, 400_000)
    assert set(line.signs[before:]) == {""}


def test_clocks_may_differ_and_the_reference_goes_round() -> None:
    record = SentRecord(lambda: 10_000_000_000 + 64_000_000 * record.next_number)
    bandwidth = Bandwidth(record)
    bandwidth.watched = True
    for reference in (0xFFFFFE, 0xFFFFFF, 0, 1):
        record.sent(1, 1000, 1000)
        information = struct.pack("!HHI", record.next_number - 1, 1, reference << 8) + b"\x20\x01\x00"
        assert bandwidth.take(read_arrivals(information), 10.0)
    assert bandwidth.queue_s == 0.0
    assert bandwidth.trend.slope == 0.0

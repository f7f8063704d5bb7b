"""The queue in front of an output."""

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.packets import PacketHeader, Track
from services.publisher.packet_queue import PacketQueue

pytestmark = pytest.mark.unit


def header(index: int, *, key: bool = False, track: Track = "video") -> PacketHeader:
    return PacketHeader(
        stream="cam0",
        rendition="main",
        track=track,
        codec="h264" if track == "video" else track,
        epoch=1,
        sequence=index,
        run=1,
        index=index,
        key=key,
        pts_ns=index,
        dts_ns=index,
        captured_ns=0,
    )


def taken(queue: PacketQueue) -> list[int]:
    result = []
    while (packet := queue.take(0)) is not None:
        result.append(packet.header.index)
    return result


def put(queue: PacketQueue, index: int, *, key: bool = False, size: int = 10, track: Track = "video") -> None:
    queue.put(header(index, key=key, track=track), memoryview(bytes(size)))


def test_a_full_queue_goes_on_at_the_next_key_it_holds() -> None:
    queue = PacketQueue(1_000_000, 6)
    for index in range(1, 9):
        put(queue, index, key=index in (1, 4))
    assert taken(queue) == [4, 5, 6, 7, 8]
    assert queue.drops() == {"queue_full": 3}


def test_without_a_key_in_it_it_waits_for_one() -> None:
    queue = PacketQueue(100, 1_000)
    for index in range(1, 21):
        put(queue, index, key=index in (1, 15))
    assert taken(queue) == [15, 16, 17, 18, 19, 20]
    assert queue.drops() == {"queue_full": 14}


def test_sound_goes_with_its_pictures() -> None:
    queue = PacketQueue(1_000_000, 4)
    put(queue, 1, key=True)
    put(queue, 1, track="aac")
    put(queue, 2, key=True)
    put(queue, 2, track="aac")
    put(queue, 3)
    assert [queue.take(0).header.track for _ in range(3)] == ["video", "aac", "video"]  # type: ignore[union-attr]
    assert queue.drops() == {"queue_full": 2}


def test_a_packet_larger_than_the_queue_is_dropped_and_counted() -> None:
    queue = PacketQueue(100, 10)
    put(queue, 1, key=True, size=101)
    put(queue, 2)
    put(queue, 3, key=True)
    assert taken(queue) == [3]
    assert queue.drops() == {"queue_full": 2}


def test_refusing_counts_by_its_reason() -> None:
    queue = PacketQueue(100, 10)
    put(queue, 1, key=True)
    queue.refuse("retrying")
    put(queue, 2)
    queue.accept()
    put(queue, 3)
    queue.close()
    put(queue, 4)
    assert not queue.finished
    assert taken(queue) == [3]
    assert queue.finished
    assert queue.drops() == {"retrying": 2, "stopped": 1}


def test_a_packet_or_the_end_wakes_the_one_who_waits() -> None:
    queue = PacketQueue(100, 10)
    threading.Timer(0.05, put, (queue, 1)).start()
    began = time.monotonic()
    packet = queue.take(5)
    assert packet is not None
    assert packet.header.index == 1
    threading.Timer(0.05, queue.close).start()
    assert queue.take(5) is None
    assert time.monotonic() - began < 2


@given(
    sizes=st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.booleans()), max_size=80),
    max_bytes=st.integers(1, 200),
    max_packets=st.integers(1, 10),
)
def test_it_is_bounded_and_counts_everything(
    sizes: list[tuple[int, bool, bool]], max_bytes: int, max_packets: int
) -> None:
    queue = PacketQueue(max_bytes, max_packets)
    for index, (size, key, _) in enumerate(sizes):
        put(queue, index, key=key, size=size)
    held = []
    while (packet := queue.take(0)) is not None:
        held.append(packet)
    assert sum(len(packet.payload) for packet in held) <= max_bytes
    assert len(held) <= max_packets
    assert len(held) + queue.drops().total() == len(sizes)
    gaps = [b for a, b in itertools.pairwise(held) if b.header.index != a.header.index + 1]
    assert all(packet.header.key for packet in gaps), "after a gap comes a key"

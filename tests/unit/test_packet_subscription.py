"""Access units that came in parts: whole ones are delivered, anything else is given up and counted."""

import msgspec
import pytest

from schemas.packets import PacketHeader, pack
from shared.bus import Message
from shared.packets import PacketSubscription, packet_messages

HEADER = PacketHeader(
    stream="cam0", rendition="main", track="video", codec="h264", epoch=1, sequence=1, run=1, index=1, key=True,
    pts_ns=1, dts_ns=1, captured_ns=1,
)  # fmt: skip
LIMIT = 4096 + 1000


def parts(index: int, text: bytes) -> list[bytes]:
    return packet_messages(msgspec.structs.replace(HEADER, index=index), text * 2500, LIMIT)


@pytest.fixture
def received() -> list[tuple[int, bytes]]:
    return []


@pytest.fixture
def subscription(received: list[tuple[int, bytes]]) -> PacketSubscription:
    return PacketSubscription(lambda header, payload: received.append((header.index, bytes(payload))))


def give(subscription: PacketSubscription, *messages: bytes) -> None:
    for message in messages:
        subscription._receive(Message("mesh.v1.packets.cam0.main.video", message))


def test_a_large_unit_goes_in_parts_and_comes_out_whole(
    subscription: PacketSubscription, received: list[tuple[int, bytes]]
) -> None:
    messages = parts(1, b"a")
    assert len(messages) == 3
    assert max(map(len, messages)) <= LIMIT
    give(subscription, *messages, pack(msgspec.structs.replace(HEADER, index=2), b"small"))
    assert received == [(1, b"a" * 2500), (2, b"small")]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_unit_with_a_lost_part_is_given_up(
    subscription: PacketSubscription, received: list[tuple[int, bytes]], lost: int
) -> None:
    first = parts(1, b"a")
    del first[lost]
    give(subscription, *first, *parts(2, b"b"))
    assert received == [(2, b"b" * 2500)]


def test_parts_of_two_units_are_never_joined(
    subscription: PacketSubscription, received: list[tuple[int, bytes]]
) -> None:
    give(subscription, *parts(1, b"a")[:2], parts(2, b"b")[2])
    assert received == []

"""Data channels of a session against aiortc's SCTP as the peer: in memory, so that packets can be lost and forged."""

import asyncio
import random
from collections.abc import Callable
from struct import pack
from typing import Any

import pytest
from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport
from google_crc32c import value as crc32c

from services.webrtc_gateway.datachannels.channels import DataChannels
from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.limits import MAX_MESSAGE_BYTES, ChannelLimits
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.sctp_gate import MAX_STREAMS
from services.webrtc_gateway.datachannels.section import DataSection
from tests.support.pace import patience
from tests.support.sctp_wire import Wire

pytestmark = pytest.mark.unit
SEED = 20_261_121
FORGED_PACKETS = 600
SCTP_PORT = 5000
LOSS = 0.1


class User:
    """Takes every label but `forbidden`, keeps what comes, and sends it back on `echo`."""

    def __init__(self) -> None:
        self.channels: DataChannels | None = None
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.messages: list[tuple[str, bytes | str]] = []
        self.news = asyncio.Event()

    def channel_offered(self, label: str) -> bool:
        return label != "forbidden"

    def channel_opened(self, label: str) -> None:
        self.opened.append(label)
        self.news.set()

    def channel_message(self, label: str, data: bytes | str) -> None:
        self.messages.append((label, data))
        if label == "echo" and self.channels is not None:
            self.channels.send(label, data)
        self.news.set()

    def channel_closed(self, label: str) -> None:
        self.closed.append(label)
        self.news.set()


class Pair:
    """One session's channels and the peer that talks to them."""

    def __init__(self, **limits: int) -> None:
        self.wire, self.user, self.counters = Wire(), User(), DataCounters()
        self.channels = DataChannels(
            DataSection("2", max_message_bytes=MAX_MESSAGE_BYTES),
            self.wire.to_peer,
            self.user,
            self.counters,
            Rate(1000, 1000),
            ChannelLimits(**limits),
        )
        # Forged packets are not to be refused for the time that they take on a slow machine.
        self.channels._association._cpu = Rate(1000, 1000)
        self.user.channels = self.channels
        self.wire.to_gateway = self.channels.receive
        self.peer = self.wire.peer = RTCSctpTransport(self.wire)  # type: ignore[arg-type]
        self.offered: list[RTCDataChannel] = []
        self.peer.on("datachannel", self.offered.append)

    async def __aenter__(self) -> "Pair":
        self.channels.start()
        await self.peer.start(RTCSctpCapabilities(maxMessageSize=MAX_MESSAGE_BYTES), SCTP_PORT)
        await self.until(lambda: self.peer.state == "connected")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.channels.close()
        await self.peer.stop()

    async def open(self, label: str, **parameters: Any) -> "Remote":
        remote = Remote(RTCDataChannel(self.peer, RTCDataChannelParameters(label=label, **parameters)))
        await self.until(lambda: remote.channel.readyState != "connecting")
        return remote

    async def until(self, holds: Callable[[], bool], seconds: float = 5.0) -> None:
        async with patience(seconds):
            while not holds():
                await asyncio.sleep(0.001)


class Remote:
    """The peer's end of a channel."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        self.messages: list[bytes | str] = []
        channel.on("message", self.messages.append)


async def test_messages_of_both_kinds_both_ways() -> None:
    large = random.Random(SEED).randbytes(200_000)
    async with Pair() as pair:
        remote = await pair.open("echo")
        sent = ["", b"", "grüße", b"\x00\xff", large, "x" * MAX_MESSAGE_BYTES]
        for message in sent:
            remote.channel.send(message)
        await pair.until(lambda: len(remote.messages) == len(sent))
        assert remote.messages == sent
        assert [data for _, data in pair.user.messages] == sent
        assert pair.counters.messages_in == pair.counters.messages_out == len(sent)
        assert pair.channels.buffered_bytes == 0


async def test_nothing_is_lost_on_a_line_that_loses() -> None:
    chance = random.Random(SEED)
    async with Pair() as pair:
        ordered, hasty = await pair.open("echo"), await pair.open("hasty", ordered=False, maxRetransmits=0)
        lost: list[bool] = []

        def lose() -> bool:
            lost.append(chance.random() < LOSS)
            return lost[-1]

        pair.wire.lose = lose
        for number in range(60):
            ordered.channel.send(pack("!L", number))
            hasty.channel.send(pack("!L", number))
        await pair.until(lambda: len(ordered.messages) == 60, 20)
        assert ordered.messages == [pack("!L", number) for number in range(60)]
        assert sum(lost) > 5
        pair.wire.lose = lambda: False
        arrived = [data for label, data in pair.user.messages if label == "hasty"]
        assert 0 < len(arrived) <= 60
        assert len(set(arrived)) == len(arrived)


async def test_our_side_opens_too() -> None:
    async with Pair() as pair:
        assert pair.channels.open("ours", ordered=False, max_retransmits=2, protocol="v1")
        assert not pair.channels.open("ours")
        assert not pair.channels.send("ours", "too early")
        await pair.until(lambda: "ours" in pair.user.opened)
        (theirs,) = pair.offered
        assert (theirs.label, theirs.ordered, theirs.maxRetransmits, theirs.protocol) == ("ours", False, 2, "v1")
        remote = Remote(theirs)
        assert pair.channels.send("ours", "hello")
        await pair.until(lambda: remote.messages == ["hello"])
        pair.channels.close_channel("ours")
        await pair.until(lambda: theirs.readyState == "closed")
        assert pair.user.closed == ["ours"]
        assert pair.channels.labels == ()


async def test_channels_that_may_not_be_are_closed() -> None:
    async with Pair(channels=2) as pair:
        await pair.open("one")
        for label, why in (("one", "label_taken"), ("forbidden", "unknown_label"), ("l" * 200, "bad_label")):
            remote = await pair.open(label)
            await pair.until(lambda remote=remote: remote.channel.readyState == "closed")  # type: ignore[misc]
            assert pair.counters.refused[why] == 1
        await pair.open("two")
        third = await pair.open("three")
        await pair.until(lambda: third.channel.readyState == "closed")
        assert pair.counters.refused["too_many"] == 1
        assert pair.channels.labels == ("one", "two")


async def test_what_is_too_much_is_dropped_and_counted() -> None:
    async with Pair(buffered_bytes=100_000, message_bytes=60_000) as pair:
        remote = await pair.open("down")
        assert not pair.channels.send("nowhere", b"x")
        assert not pair.channels.send("down", bytes(60_001))
        taken = sum(pair.channels.send("down", bytes(30_000)) for _ in range(10))
        assert taken == 3
        assert pair.counters.dropped == {"not_open": 1, "too_large": 1, "buffer_full": 7}
        await pair.until(lambda: len(remote.messages) == taken)
        assert pair.channels.send("down", "room again")
        remote.channel.send(bytes(60_001))
        await pair.until(lambda: remote.channel.readyState == "closed")
        assert pair.user.messages == []


async def test_either_side_may_leave() -> None:
    async with Pair() as pair:
        remote, other = await pair.open("one"), await pair.open("two")
        remote.channel.close()
        await pair.until(lambda: pair.user.closed == ["one"])
        again = await pair.open("one")
        pair.channels.close()
        await pair.until(lambda: pair.peer.state == "closed")
        assert (again.channel.readyState, other.channel.readyState) == ("closed", "closed")
        assert pair.channels.labels == ()
        assert pair.counters.ended == {}
        assert not pair.channels.open("late") or not pair.channels.send("late", "x")


async def test_a_peer_that_aborts_leaves_nothing_open() -> None:
    async with Pair() as pair:
        await pair.open("one")
        await pair.peer._abort()
        await pair.until(lambda: pair.channels.labels == ())
        assert pair.user.closed == ["one"]
        assert pair.counters.ended == {"aborted": 1}


def packet(pair: Pair, *chunks: bytes, tag: int | None = None) -> bytes:
    """A packet with the right checksum and, where `tag` is None, the right verification tag."""
    tag = pair.channels._association._local_verification_tag if tag is None else tag
    header, body = pack("!HHL", SCTP_PORT, SCTP_PORT, tag), b"".join(chunks)
    return header + pack("<L", crc32c(header + bytes(4) + body)) + body


def chunk(kind: int, body: bytes, flags: int = 0, length: int | None = None) -> bytes:
    size = len(body) + 4 if length is None else length
    return pack("!BBH", kind, flags, size) + body + bytes(-len(body) % 4)


async def test_packets_that_would_hang_the_parser_are_refused() -> None:
    async with Pair() as pair:
        remote = await pair.open("echo")
        association = pair.channels._association
        next_tsn = association._last_received_tsn + 1  # type: ignore[operator]
        last_sent = association._local_tsn - 1
        hostile = (
            chunk(4, pack("!HH", 1, 0)),  # a heartbeat whose parameter has no length: an endless loop
            chunk(130, pack("!HH", 13, 2) + bytes(20)),
            chunk(3, pack("!LLHH", last_sent, 1 << 20, 1, 0) + pack("!HH", 1, 65535)),  # acknowledges the unsent
            chunk(3, pack("!LLHH", last_sent, 1 << 20, 2, 0) + pack("!HHHH", 9, 9, 3, 4)),  # gaps backwards
            chunk(3, pack("!LLHH", last_sent, 1 << 20, 60_000, 0)),  # more gaps than there are
            chunk(3, pack("!LLHH", (last_sent + 5) % 2**32, 1 << 20, 0, 0)),
            chunk(0, pack("!LHHL", next_tsn, MAX_STREAMS, 0, 51) + b"x", 3),
            chunk(0, pack("!LHHL", next_tsn, 0, 0, 51), 3),  # no data
            chunk(0, pack("!LHHL", (next_tsn + 5000) % 2**32, 0, 0, 51) + b"x", 3),  # far ahead
            chunk(192, pack("!L", (next_tsn + 5000) % 2**32)),
            chunk(192, pack("!LH", next_tsn, 1)),
            chunk(1, pack("!LLHHL", 7, 1 << 20, 9, 9, 9)),  # a new INIT in a running association
            chunk(0, b"", length=3),
        )
        for number, body in enumerate(hostile):
            pair.channels.receive(packet(pair, body, tag=0 if body[0] == 1 else None))
            assert sum(pair.counters.packets_refused.values()) == number + 1, body
        remote.channel.send("still here")
        await pair.until(lambda: remote.messages == ["still here"])


async def test_forged_packets_close_or_are_ignored() -> None:
    """Seeded: what a peer says, with bytes turned, and nonsense with true checksums and tags."""
    chance = random.Random(SEED)
    ended = 0
    for _ in range(6):
        async with Pair() as pair:
            remote = await pair.open("echo")
            remote.channel.send(b"y" * 3000)
            await pair.until(lambda remote=remote: len(remote.messages) == 1)  # type: ignore[misc]
            samples = list(pair.wire.sent)
            for _ in range(FORGED_PACKETS // 6):
                if chance.random() < 0.5:
                    body = bytearray(chance.choice(samples)[12:])
                    for _ in range(chance.randint(1, 4)):
                        body[chance.randrange(len(body))] = chance.randrange(256)
                    forged = packet(pair, bytes(body))
                else:
                    kind = chance.choice([*range(16), 130, 192, 255])
                    body = bytearray(chance.randbytes(chance.randint(0, 64)))
                    forged = packet(pair, chunk(kind, bytes(body), chance.randrange(256)))
                pair.channels.receive(forged)
            ended += sum(pair.counters.ended.values())
            await asyncio.sleep(0)
    print(f"{FORGED_PACKETS} forged packets ended {ended} of 6 associations")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x03",
        b"\x02",
        b"\x03" + bytes(11),
        pack("!BBHLHH", 3, 0, 0, 0, 5, 0) + b"\xff\xfe\xfd\xfc\xfb",  # no UTF-8
        pack("!BBHLHH", 3, 0x7F, 0, 0, 65535, 65535) + b"a",
        b"\x99" * 40,
    ],
    ids=["empty", "cut", "ack of nothing", "no label", "bad label", "lengths that lie", "unknown"],
)
async def test_malformed_dcep(message: bytes) -> None:
    async with Pair() as pair:
        tsn = pair.channels._association._last_received_tsn + 1  # type: ignore[operator]
        pair.channels.receive(packet(pair, chunk(0, pack("!LHHL", tsn, 40, 0, 50) + message, 3)))
        assert len(pair.channels.labels) <= 1
        assert sum(pair.counters.ended.values()) <= 1


async def test_a_message_without_end_ends_the_association() -> None:
    async with Pair() as pair:
        await pair.open("one")
        tsn = pair.channels._association._last_received_tsn + 1  # type: ignore[operator]
        for number in range(1200):
            flags = 2 if number == 0 else 0
            body = pack("!LHHL", (tsn + number) % 2**32, 0, 1, 53) + bytes(1100)
            pair.channels.receive(packet(pair, chunk(0, body, flags)))
        assert pair.counters.ended == {"violation": 1}
        assert pair.user.closed == ["one"]


async def test_a_peer_may_use_a_share_of_our_time_only() -> None:
    async with Pair() as pair:
        remote = await pair.open("echo")
        association = pair.channels._association
        association._cpu = Rate(0, 0.001)  # nothing comes back, however slow the machine is
        for _ in range(1000):
            pair.channels.receive(packet(pair, chunk(4, pack("!HH", 1, 8) + b"ping")))
        refused = pair.counters.packets_refused["busy"]
        assert refused > 500
        association._cpu = Rate(0.2, 0.2)
        remote.channel.send("after")
        await pair.until(lambda: remote.messages == ["after"])

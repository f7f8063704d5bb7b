"""Labels, messages and statistics of Sora clients, with aiortc's SCTP as the client: what is hostile is dropped and
counted, and costs nobody else."""

import asyncio
import json
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiortc.rtcdatachannel import RTCDataChannel
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from schemas.errors import InvalidValue
from services.webrtc_gateway.datachannels.limits import MAX_MESSAGE_BYTES
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.datachannels.section import DataSection
from services.webrtc_gateway.egress.timings import Timings
from services.webrtc_gateway.sora.data_line import DataLine
from services.webrtc_gateway.sora.deflate import NotDeflated, deflate, inflate
from services.webrtc_gateway.sora.labels import MAX_LABELS, Label, announce, read_labels
from services.webrtc_gateway.sora.letter import Letter
from services.webrtc_gateway.sora.messages import Close, Notify, Offer, Ping, Push, ReOffer, ReqStats
from services.webrtc_gateway.sora.messaging import Messaging
from services.webrtc_gateway.sora.reports import ClientReports
from services.webrtc_gateway.sora.ways import Ways
from tests.support.pace import patience
from tests.support.sctp_wire import Wire

pytestmark = pytest.mark.unit
SIGNALLING = {"signaling", "notify", "push", "stats"}
WHO = [{"type": "sender_connection_id"}]
IDS = "A" * 26, "B" * 26, "C" * 26


class Link:
    """The wire as the line sees it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.on_data: Callable[[bytes], None] = lambda data: None
        wire.to_gateway = self._take

    def _take(self, packet: bytes) -> None:
        self.on_data(packet)

    def send_data(self, data: bytes) -> None:
        self.wire.to_peer(data)


class Rig:
    """One line and its client."""

    def __init__(self, *labels: dict[str, Any]) -> None:
        self.wire = Wire()
        self.plane = DataPlane(Timings())
        self.heard: list[tuple[str, bytes]] = []
        self.closed: list[str] = []
        self.is_open = asyncio.Event()
        self.line = DataLine(
            read_labels(list(labels)),
            self.plane,
            Link(self.wire),
            on_open=self.is_open.set,
            on_message=lambda label, data: self.heard.append((label.label, data)),
            on_closed=lambda label: self.closed.append(label.label),
        )
        self.client = self.wire.peer = RTCSctpTransport(self.wire)  # type: ignore[arg-type]
        self.channels: dict[str, RTCDataChannel] = {}
        self.got: list[tuple[str, bytes]] = []
        self.client.on("datachannel", self._opened)

    def _opened(self, channel: RTCDataChannel) -> None:
        self.channels[channel.label] = channel
        channel.on("message", lambda data: self.got.append((channel.label, data)))

    async def __aenter__(self) -> "Rig":
        self.line.answered(DataSection("0", max_message_bytes=MAX_MESSAGE_BYTES))
        self.line.start()
        await self.client.start(RTCSctpCapabilities(maxMessageSize=MAX_MESSAGE_BYTES), 5000)
        async with patience(5):
            await self.is_open.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.line.close()
        await self.client.stop()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with patience(5):
            while not holds():
                await asyncio.sleep(0.001)


def label(name: str, direction: str = "sendrecv", **more: Any) -> dict[str, Any]:
    return {"label": name, "direction": direction, **more}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([label("chat")], "#"),
        ([label("#")], "1-63"),
        ([label("#" + "a" * 64)], "1-63"),
        ([label("#a\n")], "1-63"),
        ([label("#a", "both")], "direction"),
        ([label("#a"), label("#a")], "once"),
        ([label("#a", max_retransmits=1, max_packet_life_time=1)], "not both"),
        ([label("#a", max_retransmits=65_536)], "65535"),
        ([label("#a", protocol="é")], "ASCII"),
        ([label("#a", header=[{"type": "length"}])], "header"),
        ([{"label": "#a"}], "direction"),
        ("#a", "list"),
        ([label(f"#{n}") for n in range(MAX_LABELS + 1)], str(MAX_LABELS)),
    ],
)
def test_labels_that_are_none_are_refused_by_name(asked: Any, why: str) -> None:
    with pytest.raises(InvalidValue, match="data_channels") as refused:
        read_labels(asked)
    assert why in refused.value.message


def test_labels_are_announced_as_they_will_be() -> None:
    assert read_labels(None) == ()
    (read,) = read_labels([label("#a", "recvonly", ordered=None, compress=None, header=None, new=1)])
    assert json.loads(msgspec.json.encode(announce(read))) == {
        "label": "#a",
        "direction": "recvonly",
        "compress": False,
    }, "clients end without compress"
    (read,) = read_labels([label("#a", compress=True, header=WHO)])
    assert json.loads(msgspec.json.encode(announce(read)))["header"] == [{"type": "sender_connection_id", "length": 26}]


def test_what_is_inflated_has_an_end() -> None:
    text = b"text " * 1000
    assert inflate(deflate(text)) == text
    assert inflate(deflate(b"")) == b""
    bomb = zlib.compress(bytes(8 * 1024 * 1024), 9)
    assert len(bomb) < MAX_MESSAGE_BYTES
    for bad, why in (
        (bomb, "inflated_too_large"),
        (b"plain text", "not_zlib"),
        (b"", "not_zlib"),
        (deflate(text)[:-4], "not_zlib"),
        (deflate(text) + b"more", "not_zlib"),
    ):
        with pytest.raises(NotDeflated) as refused:
            inflate(bad)
        assert refused.value.why == why


async def test_all_labels_are_opened_as_they_were_asked_for() -> None:
    async with Rig(
        label("#life", ordered=False, max_packet_life_time=300), label("#loose", max_retransmits=2, protocol="p")
    ) as rig:
        assert set(rig.channels) == {*SIGNALLING, "#life", "#loose"}
        life, loose = rig.channels["#life"], rig.channels["#loose"]
        assert (life.ordered, life.maxPacketLifeTime, life.maxRetransmits) == (False, 300, None)
        assert (loose.ordered, loose.maxPacketLifeTime, loose.maxRetransmits, loose.protocol) == (True, None, 2, "p")
        assert rig.line.say("notify", b'{"type":"notify"}')
        await rig.until(lambda: bool(rig.got))
        assert (rig.got[0][0], zlib.decompress(rig.got[0][1])) == ("notify", b'{"type":"notify"}')
        rig.client._data_channel_close(rig.channels["#life"])
        await rig.until(lambda: rig.closed == ["#life"])
        await rig.line.close_gently()
        assert set(rig.closed) == {*SIGNALLING, "#life", "#loose"}


async def test_what_a_client_may_not_send_is_dropped_and_counted() -> None:
    async with Rig(label("#in", "recvonly"), label("#z", compress=True), label("#a")) as rig:
        send = {name: channel.send for name, channel in rig.channels.items()}
        send["#in"](b"I may not")
        send["#z"](b"not deflated")
        send["#z"](zlib.compress(bytes(2 * MAX_MESSAGE_BYTES)))
        send["signaling"](b"{}")
        send["#z"](deflate(b"this is"))
        send["#a"]("as text")
        await rig.until(lambda: len(rig.heard) == 2)
        assert rig.heard == [("#z", b"this is"), ("#a", b"as text")]
        assert rig.line.dropped == {"not_allowed": 1, "not_zlib": 2, "inflated_too_large": 1}
        for _ in range(600):
            send["#a"](b".")
        await rig.until(lambda: len(rig.heard) + rig.line.dropped["rate_in"] == 602)
        assert rig.line.dropped["rate_in"] > 100
        # A client that floods its labels still is heard.
        send["signaling"](deflate(b'{"type":"disconnect"}'))
        await rig.until(lambda: rig.heard[-1] == ("signaling", b'{"type":"disconnect"}'))


async def test_messages_of_others_leave_room_for_signalling() -> None:
    async with Rig(label("#a")) as rig:
        rig.wire.peer = None  # it takes nothing any more
        (wanted,) = read_labels([label("#a")])
        for _ in range(20):
            rig.line.hand(wanted, Letter(IDS[1], bytes(100_000)))
        assert rig.line.dropped["buffer_full"] >= 14
        assert rig.line.say("signaling", b"x" * 1000)


class Ear:
    def __init__(self, id: str) -> None:
        self.id = id
        self.got: list[bytes] = []

    def hand(self, label: Label, letter: Letter) -> None:
        self.got.append(letter.to(label))


def test_a_message_goes_to_the_others_of_its_channel_and_label_as_each_wants_it() -> None:
    messaging, (one, two, three) = Messaging(), map(Ear, IDS)
    wants = read_labels([label("#a"), label("#b")])
    (packed,) = read_labels([label("#a", "recvonly", compress=True, header=WHO)])
    (mute,) = read_labels([label("#a", "sendonly")])
    messaging.join("room", wants[0], one)
    messaging.join("room", packed, two)
    messaging.join("room", mute, three)
    messaging.join("elsewhere", wants[0], three)
    messaging.broadcast("room", "#a", Letter(one.id, b"hello"))
    messaging.broadcast("room", "#b", Letter(one.id, b"to nobody"))
    assert (one.got, three.got) == ([], [])
    assert [zlib.decompress(got) for got in two.got] == [IDS[0].encode() + b"hello"]
    messaging.broadcast("room", "#a", Letter(two.id, b"back"))
    assert one.got == [b"back"]
    messaging.leave("room", wants[0], one)
    messaging.leave("room", wants[0], one)
    messaging.broadcast("room", "#a", Letter(two.id, b"gone"))
    assert one.got == [b"back"]


async def test_each_message_goes_its_way() -> None:
    notify = Notify(
        event_type="connection.created",
        role="sendonly",
        session_id="s",
        client_id="c",
        bundle_id="b",
        connection_id="n",
        audio=True,
        video=True,
        minutes=0,
        timestamp="",
        channel_connections=1,
        channel_sendrecv_connections=0,
        channel_sendonly_connections=1,
        channel_recvonly_connections=0,
    )
    every = (ReOffer("v=0"), notify, Push(1), ReqStats(), Ping(), Close(1000, "X"))
    async with Rig() as rig:
        ways = Ways(rig.line)
        assert all(ways.say(message) for message in every)
        assert [json.loads(text)["type"] for text in ways.unsent] == [
            "re-offer",
            "notify",
            "push",
            "req-stats",
            "ping",
            "close",
        ]
        ways.unsent.clear()
        ways.switched = True
        assert all(ways.say(message) for message in every)
        assert [json.loads(text)["type"] for text in ways.unsent] == ["ping"], "it is about the socket itself"
        await rig.until(lambda: len(rig.got) == len(every) - 1)
        by_label = [(name, json.loads(zlib.decompress(data))["type"]) for name, data in rig.got]
        assert sorted(by_label) == [
            ("notify", "notify"),
            ("push", "push"),
            ("signaling", "close"),
            ("signaling", "re-offer"),
            ("stats", "req-stats"),
        ]
        ways.has_socket = False
        assert ways.say(Ping())
        assert len(ways.unsent) == 1, "there is no socket to ping"
    full = Ways(None)
    assert [full.say(Ping()) for _ in range(257)].count(False) == 1


def test_statistics_are_kept_within_bounds() -> None:
    reports = ClientReports()
    for nonsense in (b"", b"null", b"{}", b"[]", b"[1]", b'[{"type":7}]', b'[{"type":"certificate"}]', b"[" * 100_000):
        assert not reports.take(msgspec.Raw(nonsense))
    assert (reports.at_ns, reports.all()) == (0, ())
    said = [
        {"type": "certificate", "base64Certificate": "MIIB"},
        {"type": "local-candidate", "address": "192.0.2.1"},
        {"type": "data-channel", "label": "#a"},
        {"type": "inbound-rtp", "ssrc": 7, "framesPerSecond": 24.5, "nested": {"a": 1}, "list": [1], "none": None}
        | {"long": "x" * 65, "x" * 65: 1, "huge": 2**70},
    ]
    assert reports.take(msgspec.Raw(json.dumps(said).encode()))
    inbound = {"type": "inbound-rtp", "ssrc": 7, "framesPerSecond": 24.5}
    assert reports.all() == (inbound, {"type": "data-channel", "label": "#a"})
    assert reports.inbound([7, 8]) == (reports.at_ns, (inbound,))
    many = [{"type": "inbound-rtp", "ssrc": n} | {f"f{k}": "y" * 60 for k in range(200)} for n in range(500)]
    assert reports.take(msgspec.Raw(json.dumps(many).encode()))
    kept = reports.all()
    assert len(msgspec.json.encode(kept)) <= 33 * 1024
    assert {len(report) for report in kept} == {96}


def test_the_offer_tells_what_clients_end_without() -> None:
    offer = Offer(
        sdp="v=0",
        channel_id="c",
        session_id="s",
        client_id="i",
        bundle_id="b",
        connection_id="n",
        mid={},
        version="v",
        data_channel_signaling=True,
        data_channels=(announce(read_labels([label("#a")])[0]),),
    )
    assert json.loads(msgspec.json.encode(offer))["data_channels"] == [
        {"label": "#a", "direction": "sendrecv", "compress": False}
    ]

"""From an access unit to datagrams: the bytes that an independent receiver gets, whichever way they are sent."""

import errno
import os
import random
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensionsMap, RtpPacket
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.history import TrackHistory
from services.webrtc_gateway.egress.packetizer import MAX_EXTENSION_BYTES, MAX_PAYLOAD_BYTES, RtpUnit
from services.webrtc_gateway.egress.rtp import HeaderExtensions, RtpTrack
from services.webrtc_gateway.egress.sender import MediaSender
from services.webrtc_gateway.egress.sent_record import SentRecord
from services.webrtc_gateway.signalling.offer import TRANSPORT_NUMBER
from services.webrtc_gateway.transport import datagrams
from services.webrtc_gateway.transport.datagrams import MAX_RUN_DATAGRAMS, DatagramSender
from services.webrtc_gateway.transport.srtp import RTP_BYTES, PacketBatch, SrtpSender
from shared.rtp.h264 import packetize_h264

pytestmark = pytest.mark.unit

GCM, SHA1 = Policy.SRTP_PROFILE_AEAD_AES_128_GCM, Policy.SRTP_PROFILE_AES128_CM_SHA1_80
KEY_BYTES = {GCM: 28, SHA1: 30}
MID_ID, PLAYOUT_ID, CAPTURE_ID, NUMBER_ID = 9, 5, 12, 3
CAPTURED_NS = 1_700_000_000_500_000_000


class Wire:
    """Plays the transport: keeps the datagrams, as many as it has room for."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.calls = 0
        self.room = 1 << 30

    def send_run(self, peer: object, data: memoryview, size: int) -> int:
        self.calls += 1
        cut = [bytes(data[at : at + size]) for at in range(0, len(data), size)][: self.room]
        self.room -= len(cut)
        self.packets += cut
        return len(cut)

    def send(self, peer: object, batch: Any) -> int:
        return len(batch)  # reports


class Path:
    """A sender and what a receiver with its keys makes of the datagrams."""

    def __init__(self, profile: int = GCM, mid: str = "0") -> None:
        self.wire, self.counters = Wire(), EgressCounters()
        self.track = RtpTrack(96, 90_000, HeaderExtensions(mid, MID_ID, PLAYOUT_ID, CAPTURE_ID))
        self.history = TrackHistory(90_000)
        self.sender = MediaSender(self.wire, None, PacketBatch(), "name", self.counters)  # type: ignore[arg-type]
        key = os.urandom(KEY_BYTES[profile])
        self.sender.srtp = SrtpSender(key, profile)
        self.receiver = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        parameters = RTCRtpParameters(
            headerExtensions=[
                RTCRtpHeaderExtensionParameters(id=MID_ID, uri="urn:ietf:params:rtp-hdrext:sdes:mid"),
                RTCRtpHeaderExtensionParameters(id=NUMBER_ID, uri=TRANSPORT_NUMBER),
            ]
        )
        self.extensions = HeaderExtensionsMap()
        self.extensions.configure(parameters)

    def send(self, unit: RtpUnit, start: int = 0, stop: int | None = None) -> int:
        if self.track.first_number is None:
            self.track.restart(unit)
        return self.sender.send(self.track, self.history, unit, start, len(unit.payloads) if stop is None else stop)

    def received(self) -> list[RtpPacket]:
        return [RtpPacket.parse(self.receiver.unprotect(packet), self.extensions) for packet in self.wire.packets]


def unit_of(payloads: tuple[bytes, ...], number: int = 0, timestamp: int = 1234, tell: bool = True) -> RtpUnit:
    return RtpUnit(number, payloads, timestamp, True, CAPTURED_NS, 0.0, tell)


def picture(size: int, number: int = 0) -> RtpUnit:
    nal = b"\x65" + os.urandom(size).replace(b"\0", b"\1")
    return unit_of(packetize_h264(b"\0\0\0\1" + nal, MAX_PAYLOAD_BYTES, MAX_EXTENSION_BYTES), number)


sizes = st.lists(st.one_of(st.integers(1, MAX_PAYLOAD_BYTES), st.sampled_from([200, 1000])), min_size=1, max_size=90)


@given(sizes=sizes, profile=st.sampled_from([GCM, SHA1]), mid=st.sampled_from(["0", "video-12"]), tell=st.booleans())
def test_every_payload_comes_back(sizes: list[int], profile: int, mid: str, tell: bool) -> None:
    payloads = tuple(bytes((index & 0xFF,)) * size for index, size in enumerate(sizes))
    path = Path(profile, mid)
    path.track.timestamp_offset = 0xFFFFFFFF
    unit = unit_of(payloads, number=random.randrange(1 << 40), tell=tell)
    assert path.send(unit) == len(payloads)
    got = path.received()
    assert [packet.payload for packet in got] == list(payloads)
    assert max(map(len, path.wire.packets)) <= RTP_BYTES
    assert [packet.marker for packet in got] == [*[0] * (len(got) - 1), 1]
    assert {(packet.ssrc, packet.payload_type, packet.timestamp) for packet in got} == {(path.track.ssrc, 96, 1233)}
    first = got[0].sequence_number
    assert [packet.sequence_number for packet in got] == [(first + index) & 0xFFFF for index in range(len(got))]
    assert [packet.extensions.mid for packet in got] == [mid, *[None] * (len(got) - 1)]
    assert (path.track.packets, path.track.octets) == (len(payloads), sum(sizes))
    assert path.sender.bytes == path.counters.bytes == sum(map(len, path.wire.packets))


def test_a_picture_is_one_run_also_in_its_first_packet() -> None:
    path, unit = Path(), picture(18_750)
    assert path.send(unit) == len(unit.payloads) == 17
    assert path.wire.calls == 1
    assert len({len(packet) for packet in path.wire.packets[:-1]}) == 1
    assert len(path.wire.packets[-1]) <= len(path.wire.packets[0])


def test_numbers_start_over_within_a_picture() -> None:
    for before in range(1, 20):
        path, unit = Path(), picture(18_750)
        path.track._sequence_offset = 65_536 - before
        assert path.send(unit) == len(unit.payloads)
        got = path.received()
        assert [packet.sequence_number for packet in got] == [(65_536 - before + at) & 0xFFFF for at in range(17)]
        assert {packet.payload_type for packet in got} == {96}


@pytest.mark.parametrize("profile", [GCM, SHA1])
def test_what_the_socket_did_not_take_goes_later_and_what_was_lost_again(profile: int) -> None:
    path, unit = Path(profile), picture(60_000)
    count = len(unit.payloads)
    path.history._ring[:count] = [unit] * count
    path.history.next_number = count
    path.wire.room = 37  # within the second run of one call
    assert path.send(unit) == 37
    assert (path.track.next_number, path.track.packets) == (37, 37)
    path.wire.room = 1 << 30
    assert path.send(unit, 37) == count - 37
    sent = list(path.wire.packets)
    assert [packet.payload for packet in path.received()] == list(unit.payloads)
    first = path.track._sequence_offset
    path.wire.packets.clear()
    for index in (0, 36, 37, count - 1):
        path.sender.resend(path.track, path.history, [(first + index) & 0xFFFF])
    assert path.wire.packets == [sent[index] for index in (0, 36, 37, count - 1)], "byte for byte"
    assert path.counters.retransmitted == 4
    assert path.counters.packets == count + 4


@pytest.mark.parametrize("profile", [GCM, SHA1])
def test_every_packet_has_the_sessions_next_number_and_repairs_one_of_their_own(profile: int) -> None:
    path, unit = Path(profile), picture(60_000)
    path.track.extensions = HeaderExtensions("0", MID_ID, PLAYOUT_ID, CAPTURE_ID, NUMBER_ID)
    path.track.repair_type = 97
    record = path.track.numbers = SentRecord()
    record.next_number = 65_536 - 20  # numbers start over within the picture
    count = len(unit.payloads)
    path.history._ring[:count] = [unit] * count
    path.history.next_number = count
    path.wire.room = 37
    assert path.send(unit) == 37
    path.wire.room = 1 << 30
    assert path.send(unit, 37) == count - 37
    first = path.track._sequence_offset
    for index in (0, count - 1):
        path.sender.resend(path.track, path.history, [(first + index) & 0xFFFF])
    got = path.received()
    assert [packet.extensions.transport_sequence_number for packet in got] == [
        (65_516 + at) & 0xFFFF for at in range(count + 2)
    ]
    assert record.next_number == 65_516 + count + 2
    assert record.sent_of(np.arange(65_516, record.next_number))[1].tolist() == [
        len(packet) for packet in path.wire.packets
    ]
    assert max(map(len, path.wire.packets)) <= RTP_BYTES
    assert [packet.payload for packet in got[:count]] == list(unit.payloads)
    for repair, lost in zip(got[count:], (got[0], got[count - 1]), strict=True):
        assert (repair.ssrc, repair.payload_type) == (path.track.repair_ssrc, 97)
        assert (repair.timestamp, repair.marker) == (lost.timestamp, lost.marker)
        assert repair.payload == lost.sequence_number.to_bytes(2, "big") + lost.payload
        assert repair.extensions.mid == lost.extensions.mid
    assert got[-1].sequence_number == (got[-2].sequence_number + 1) & 0xFFFF


def test_a_numbered_packet_without_a_repair_format_is_not_sent_again() -> None:
    path, unit = Path(), picture(3_000)
    path.track.numbers = SentRecord()
    path.history._ring[:1] = [unit]
    path.history.next_number = 1
    path.send(unit)
    sent = len(path.wire.packets)
    path.sender.resend(path.track, path.history, [path.track._sequence_offset & 0xFFFF])
    assert len(path.wire.packets) == sent
    assert path.counters.drops == {"nack_not_repairable": 1}


def test_a_packet_that_cannot_be_protected_is_not_sent() -> None:
    path, unit = Path(), picture(5_000)
    batch = path.sender._batch
    path.track.restart(unit)
    path.track.write(unit, 0, 3, batch, 16)
    batch.lengths[1] = 4  # shorter than a header: libsrtp refuses it
    assert path.sender.srtp is not None
    assert not path.sender.srtp.protect(batch)


FAMILIES = [(socket.AF_INET, "127.0.0.1")] + ([(socket.AF_INET6, "::1")] if socket.has_ipv6 else [])


@pytest.fixture(params=FAMILIES, ids=["ipv4", "ipv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    family, host = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as out, socket.socket(family, socket.SOCK_DGRAM) as into:
        out.bind((host, 0))
        out.setblocking(False)
        into.bind((host, 0))
        into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        into.settimeout(2)
        yield out, into


def sender_that(way: str, sock: socket.socket) -> DatagramSender:
    sender = DatagramSender(sock, segments=way == "segments")
    if way == "each":
        sender._list = None
    return sender


@pytest.mark.parametrize("way", ["segments", "list", "each"])
def test_every_way_gives_the_same_datagrams(pair: tuple[socket.socket, socket.socket], way: str) -> None:
    out, into = pair
    sender = sender_that(way, out)
    for size, total in ((1200, 32 * 1200), (1200, 31 * 1200 + 1), (7, 7), (7, 6), (1000, 2000), (1, 2)):
        data = os.urandom(total)
        count = -(-total // size)
        assert sender.send(memoryview(bytearray(data)), size, into.getsockname()) == count
        assert [into.recv(2048) for _ in range(count)] == [data[at : at + size] for at in range(0, total, size)]
    assert sender._segments == (way == "segments"), "this kernel cuts"


@pytest.mark.parametrize("way", ["segments", "list", "each"])
def test_a_full_socket_tells_how_many_it_took(way: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind(("127.0.0.1", 0))
        out.setblocking(False)
        full = _FullAfter(out, 5)
        sender = DatagramSender(full, segments=way == "segments")  # type: ignore[arg-type]
        sender._list = datagrams.DatagramList(full, full.sendmmsg) if way == "list" else None  # type: ignore[arg-type]
        data = memoryview(bytearray(20 * 100))
        taken = sender.send(data, 100, out.getsockname())
        assert taken == (0 if way == "segments" else 5)
        if way == "segments":
            assert sender._segments, "full is not unable"


class _FullAfter:
    """A socket that is full after so many datagrams."""

    def __init__(self, sock: socket.socket, room: int) -> None:
        self._sock, self._room = sock, room
        self.fileno = sock.fileno

    def sendto(self, data: memoryview, address: Any) -> int:
        if not self._room:
            raise BlockingIOError(errno.EAGAIN, "full")
        self._room -= 1
        return self._sock.sendto(data, address)

    def sendmsg(self, *_: Any) -> int:
        raise BlockingIOError(errno.EAGAIN, "full")

    def sendmmsg(self, _fd: int, _messages: Any, count: int, _flags: int) -> int:
        return min(count, self._room)


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.EOPNOTSUPP])
def test_a_kernel_that_cannot_cut_is_asked_once(number: int, pair: tuple[socket.socket, socket.socket]) -> None:
    out, into = pair
    refusing = _Refusing(out, number)
    sender = DatagramSender(refusing, segments=True)  # type: ignore[arg-type]
    data = memoryview(bytearray(os.urandom(2500)))
    for _ in range(3):
        assert sender.send(data, 1000, into.getsockname()) == 3
        assert b"".join(into.recv(2048) for _ in range(3)) == bytes(data)
    assert refusing.asked == 1


def test_an_address_that_cannot_be_sent_to_unlearns_nothing_for_the_others() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to,
    ):
        to.bind(("127.0.0.1", 0))
        sender, data = DatagramSender(out), memoryview(bytearray(2500))
        with pytest.raises(OSError, match="EINVAL"):
            sender.send(data, 1000, ("127.0.0.1", 0))
        asked = _Counting(out)
        sender._sock = asked  # type: ignore[assignment]
        assert sender.send(data, 1000, to.getsockname()) == 3
        assert asked.asked == 1


class _Counting:
    def __init__(self, sock: socket.socket) -> None:
        self._sock, self.asked = sock, 0
        self.fileno, self.sendto = sock.fileno, sock.sendto

    def sendmsg(self, *arguments: Any) -> int:
        self.asked += 1
        return self._sock.sendmsg(*arguments)


class _Refusing:
    def __init__(self, sock: socket.socket, number: int) -> None:
        self._number, self.asked = number, 0
        self.fileno, self.sendto = sock.fileno, sock.sendto

    def sendmsg(self, *_: Any) -> int:
        self.asked += 1
        raise OSError(self._number, os.strerror(self._number))


def test_who_cannot_be_reached_is_an_error_and_nothing_is_unlearnt() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind(("127.0.0.1", 0))
        for segments in (True, False):
            sender = DatagramSender(out, segments=segments)
            with pytest.raises(OSError, match=r"EACCES|Permission denied"):  # broadcasting is not switched on
                sender.send(memoryview(bytearray(3000)), 1000, ("255.255.255.255", 9))
            assert sender._segments is segments
            assert sender._list is not None


def test_a_run_fits_the_kernels_limits() -> None:
    assert MAX_RUN_DATAGRAMS <= 64
    assert MAX_RUN_DATAGRAMS * RTP_BYTES <= 65_507

"""Sound and pictures of a viewer that goes to another rendition and back: in step, nothing twice, numbers go on."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from aiortc.rtp import RtcpPacket, RtcpSrPacket, RtpPacket
from pylibsrtp import Policy, Session

from schemas.packets import PacketHeader
from services.webrtc_gateway.congestion.crossing import Crossing
from services.webrtc_gateway.datachannels.gate import NO_RIGHTS
from services.webrtc_gateway.datachannels.plane import DataPlane
from services.webrtc_gateway.egress.counters import EgressCounters
from services.webrtc_gateway.egress.fanout import RenditionFeed
from services.webrtc_gateway.egress.timings import Timings
from services.webrtc_gateway.egress.viewer import Viewer
from services.webrtc_gateway.signalling.offer import match_offer, read_offer
from services.webrtc_gateway.transport.dtls import DtlsIdentity
from services.webrtc_gateway.transport.srtp import PacketBatch, SrtpReceiver, SrtpSender
from shared.rtp.clock import ntp_timestamp
from tests.support.light_peer import IDENTITY, LightPeer

pytestmark = pytest.mark.unit
PROFILE, KEY_BYTES = Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28
PICTURE_NS, SOUND_NS = 40_000_000, 20_000_000
HZ = {96: 90_000, 97: 48_000}
SOUND_OFFER = """m=audio 9 UDP/TLS/RTP/SAVPF 97
c=IN IP4 0.0.0.0
a=mid:1
a=recvonly
a=rtcp-mux
a=rtpmap:97 opus/48000/2
"""
MAX_APART_NS = 1_000_000  # rounding of both clocks; an ear notices tens of milliseconds


@dataclass
class Wire:
    """Plays the transport: what the viewer would receive, read with its keys."""

    key: bytes = field(default_factory=lambda: os.urandom(KEY_BYTES))
    datagrams: list[bytes] = field(default_factory=list)
    room: int = 1 << 30

    def send_run(self, peer: object, data: memoryview, size: int) -> int:
        cut = [bytes(data[at : at + size]) for at in range(0, len(data), size)][: self.room]
        self.room -= len(cut)
        self.datagrams += cut
        return len(cut)

    def send(self, peer: object, batch: Any) -> int:
        self.datagrams += map(bytes, batch)
        return len(batch)

    def remove(self, peer: object) -> None: ...

    def received(self) -> list[RtpPacket | RtcpSrPacket]:
        session = Session(Policy(key=self.key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILE))
        found: list[RtpPacket | RtcpSrPacket] = []
        for datagram in self.datagrams:
            if 192 <= datagram[1] <= 223:
                report = RtcpPacket.parse(session.unprotect_rtcp(datagram))[0]
                found += [report] if isinstance(report, RtcpSrPacket) else []
            else:
                found.append(RtpPacket.parse(session.unprotect(datagram)))
        return found


class Rendition:
    """A feed and its producer, so much later than the others."""

    def __init__(self, picture_lag: int, sound_lag: int, packets: int) -> None:
        self.feed = RenditionFeed("cam0", EgressCounters())
        self.feed.begin(self, True)
        self.feed.go_live()
        self.picture_lag, self.sound_lag, self.packets = picture_lag, sound_lag, packets
        self.key = True

    def request_key_frame(self) -> None:
        self.key = True

    def play(self, began_ns: int, tick: int) -> None:
        """What it has made at the time of one picture of the source: that, or an older one, and two of sound."""
        number = tick - self.picture_lag
        if number >= 0:
            key, self.key = self.key, False
            nal = (
                b"\x00\x00\x00\x01" + (b"\x65" if key else b"\x41") + number.to_bytes(4, "big").replace(b"\0", b"\xff")
            )
            self._deliver(
                "video", "h264", number, began_ns + number * PICTURE_NS, key, nal + b"\x01" * 1000 * self.packets
            )
        for number in range(2 * tick - self.sound_lag, 2 * tick - self.sound_lag + 2):
            if number >= 0:
                payload = b"\xfc" + number.to_bytes(4, "big")
                self._deliver("opus", "opus", number, began_ns + number * SOUND_NS, True, payload)

    def _deliver(self, track: Any, codec: Any, index: int, pts_ns: int, key: bool, payload: bytes) -> None:
        header = PacketHeader(
            stream="cam0",
            rendition="main",
            track=track,
            codec=codec,
            epoch=1,
            sequence=index,
            run=1,
            index=index,
            captured_ns=pts_ns,
            pts_ns=pts_ns,
            dts_ns=pts_ns,
            key=key,
        )
        self.feed.deliver(header, memoryview(payload))


def viewer_of(feed: RenditionFeed, wire: Wire) -> Viewer:
    with LightPeer() as peer:
        text = peer.offer.replace("BUNDLE 0", "BUNDLE 0 1")
        own = [line for line in text.splitlines() if line.startswith(("a=ice-", "a=fingerprint", "a=setup"))]
        offer = match_offer(read_offer(text + SOUND_OFFER + "\n".join(own)), ("video", "opus"), "h264")
    counters = EgressCounters()
    viewer = Viewer(
        session="one",
        rendition="main",
        refused=None,
        feed=feed,
        offer=offer,
        transport=wire,  # type: ignore[arg-type]
        batch=PacketBatch(),
        identity=IDENTITY[0] if IDENTITY else DtlsIdentity(),
        counters=counters,
        data_plane=DataPlane(Timings()),
        rights=NO_RIGHTS,
        timings=Timings(),
        asked_s=time.monotonic(),
        on_closed=lambda viewer, reason: None,
    )
    feed.add(viewer)
    viewer._keys_ready(SrtpSender(wire.key, PROFILE), SrtpReceiver(os.urandom(KEY_BYTES), PROFILE))
    return viewer


@pytest.mark.parametrize("cut_short", [False, True], ids=["", "within a picture"])
@pytest.mark.parametrize(("picture_lag", "sound_lag"), [(0, 0), (2, 3), (1, -2)])
async def test_sound_stays_in_step_with_the_picture(picture_lag: int, sound_lag: int, cut_short: bool) -> None:
    wire, began_ns = Wire(), time.time_ns()
    main, low = Rendition(2, 2, 3), Rendition(2 + picture_lag, 2 + sound_lag, 1)
    viewer = viewer_of(main.feed, wire)
    crossings = {10: low, 20: main, 30: low}
    for tick in range(40):
        if to := crossings.get(tick):
            Crossing(to.feed, "h264", lambda unit, feed=to.feed: viewer.cross(feed, "other", unit))  # type: ignore[misc]
            to.key = True
            wire.room = 2 if cut_short else 1 << 30  # the socket is full in the middle of the last picture
        for rendition in (main, low):
            rendition.play(began_ns, tick)
            wire.room = 1 << 30
        await asyncio.sleep(0.003)  # what the socket did not take goes a millisecond later
    assert viewer.switches == 3
    viewer.close("done")
    clocks: dict[int, RtcpSrPacket] = {}
    last: dict[int, RtpPacket] = {}
    apart: dict[int, list[int]] = {96: [], 97: []}
    sounds: list[int] = []
    waiting: list[RtpPacket] = []  # of a track, until its clock is told: with its first packets
    for packet in wire.received():
        if isinstance(packet, RtcpSrPacket):
            clocks[packet.ssrc] = packet
            due = [other for other in waiting if other.ssrc == packet.ssrc]
            waiting = [other for other in waiting if other.ssrc != packet.ssrc]
        else:
            before = last.get(packet.ssrc)
            if before is not None:
                assert (packet.sequence_number - before.sequence_number) & 0xFFFF == 1
                step = (packet.timestamp - before.timestamp) & 0xFFFFFFFF
                assert 0 <= step < 1 << 31, "time never runs backwards"
            last[packet.ssrc] = packet
            due = [packet] if packet.ssrc in clocks else []
            waiting += [] if due else [packet]
        for media in due:
            number = int.from_bytes(media.payload[1:5].replace(b"\xff", b"\0"), "big")
            if media.payload_type == 97:
                sounds.append(number)
            elif media.payload[0] & 0x1F == 28:
                if not media.payload[1] & 0x80:
                    continue  # not the first fragment, which has the number
                number = int.from_bytes(media.payload[2:6].replace(b"\xff", b"\0"), "big")
            clock, hz = clocks[media.ssrc], HZ[media.payload_type]
            ahead = (media.timestamp - clock.sender_info.rtp_timestamp + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
            told_ns = (clock.sender_info.ntp_timestamp - ntp_timestamp(began_ns)) * 10**9 / 2**32 + ahead * 1e9 / hz
            apart[media.payload_type].append(round(told_ns) - number * (PICTURE_NS if hz == 90_000 else SOUND_NS))
    assert min(map(len, apart.values())) > 30
    assert all(before < after for before, after in pairwise(sounds)), "no sound is heard twice"
    # From the packet after each crossing on: its own time is told with it.
    late = {kind: [ns for ns in found if abs(ns) > MAX_APART_NS] for kind, found in apart.items()}
    assert max(map(len, late.values())) <= len(crossings), late

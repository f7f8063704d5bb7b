"""Viewers that come over TCP: Chromium, slow ones, and those who mean ill. Real sockets on loopback."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aioice import stun
from test_whep_chromium import CHROMIUM, PLAYER, chromium, stats_when
from test_whep_ice import Receiver
from whep_rig import EncodedStream, Rig, gateway_rig

from schemas.errors import Conflict
from services.webrtc_gateway.transport import tcp_transport
from services.webrtc_gateway.transport.ice import IcePeer, SharedIceTransport
from services.webrtc_gateway.transport.tcp_transport import (
    MAX_FRAME_BYTES,
    MAX_FRAMES_PER_SECOND,
    MAX_OF_SESSION,
    MAX_UNKNOWN_OF_HOST,
    TcpTransport,
)
from tests.support.light_peer import LightPeer
from tests.support.pace import patience, slowness
from tests.support.tcp_peer import TcpPeer, frame

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
# What no UDP reaches: only the TCP candidates of the answer are left.
NO_UDP = "sdp: (await response.text()).split('\\r\\n').filter((l) => !/^a=candidate.* udp /.test(l)).join('\\r\\n')"
TCP_PLAYER = PLAYER.replace("sdp: await response.text()", NO_UDP)
PROTOCOL = """
async () => {
  const reports = [...(await player.pc.getStats()).values()];
  const chosen = reports.find((report) => report.type === 'transport').selectedCandidatePairId;
  const pair = reports.find((report) => report.id === chosen);
  return reports.find((report) => report.id === pair.remoteCandidateId).protocol;
}
"""


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")
async def test_chromium_plays_where_no_udp_goes(tmp_path: Path) -> None:
    async with gateway_rig(EncodedStream(), over_tcp=True) as rig, chromium(rig, tmp_path) as page:
        join_ms = await page.evaluate(TCP_PLAYER, "/whep/cam0")
        found = await stats_when(page, "s.video?.framesDecoded >= 30 && s.audio?.totalAudioEnergy > 0")
        assert await page.evaluate(PROTOCOL) == "tcp"
        assert (found["video"]["packetsLost"], found["video"]["nackCount"]) == (0, 0)
        assert found["audio"]["totalAudioEnergy"] > 0
        print(f"join over TCP {join_ms:.0f} ms")
        location = await page.evaluate("() => player.location")
        await page.evaluate("(path) => fetch(path, {method: 'DELETE'})", location)
        found = await stats_when(page, "s.states.at(-1)?.[0] === 'closed'", 5)
        assert found["states"][-1][0] == "closed", "the goodbye comes through too"
        async with patience(2):
            while rig.tcp.connections:
                await asyncio.sleep(0.01)


@pytest.mark.browser
@pytest.mark.long
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")
async def test_chromium_takes_udp_where_both_go(tmp_path: Path) -> None:
    async with gateway_rig(EncodedStream(), over_tcp=True) as rig, chromium(rig, tmp_path) as page:
        await page.evaluate(PLAYER, "/whep/cam0")
        await stats_when(page, "s.video?.framesDecoded >= 30")
        assert await page.evaluate(PROTOCOL) == "udp"


async def answer_of(rig: Rig, peer: LightPeer) -> tuple[str, str]:
    """Session and answer."""
    async with (
        aiohttp.ClientSession(rig.url) as http,
        http.post("/whep/cam0", data=peer.offer, headers={"Content-Type": "application/sdp"}) as response,
    ):
        assert response.status == 201, await response.text()
        return response.headers["Location"].rpartition("/")[2], await response.text()


@pytest.mark.alone
async def test_a_slow_viewer_gets_key_pictures_and_holds_nobody_up() -> None:
    stream = EncodedStream(bitrate=6_000_000, noise=90, audio=False)
    async with gateway_rig(stream, over_tcp=True) as rig:
        with TcpPeer() as slow, LightPeer() as quick:
            for peer in (slow, quick):
                await peer.connect((await answer_of(rig, peer))[1])
                await peer.media(10)
            (connection,) = rig.tcp.connections
            quick_before, began = quick.packets, time.monotonic()
            watching = asyncio.create_task(quick.media(1 << 30))
            late_s = waiting_bytes = 0.0
            async with patience(10):
                while not rig.gateway.counters.drops["slow_connection"]:
                    asked = time.monotonic()
                    await asyncio.sleep(0.005)
                    late_s = max(late_s, time.monotonic() - asked)
                    waiting_bytes = max(waiting_bytes, connection._wire.get_write_buffer_size())  # type: ignore[union-attr]
            seconds = time.monotonic() - began
            assert 0 < waiting_bytes <= 64 * 1024 + 512
            assert late_s < 0.25 * slowness(), "the loop is everybody's"
            rate = (quick.packets - quick_before) / seconds
            assert rate > 100, f"{rate:.0f} packets a second beside the slow one"
            keys = [track.tally.keys for viewer in rig.gateway.viewers for track in viewer.tracks]
            await slow.media(slow.packets + 400)  # it reads again: what was on its way, then whole pictures
            later = [track.tally.keys for viewer in rig.gateway.viewers for track in viewer.tracks]
            assert later[0] > keys[0], "it goes on with a key picture"
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await watching


# --- the port itself


@pytest.fixture
async def tcp() -> AsyncIterator[TcpTransport]:
    ice = SharedIceTransport.open(0, ["127.0.0.1"], bind="127.0.0.1")
    transport = await TcpTransport.open(0, ice)
    yield transport
    transport.close()
    ice.close()
    await asyncio.sleep(0)  # the connections' last callbacks


class Client:
    """A connection to the port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, tcp: TcpTransport) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", tcp.port))

    def send(self, *datagrams: bytes) -> None:
        self.writer.write(b"".join(frame(datagram) for datagram in datagrams))

    async def receive(self) -> bytes:
        """One datagram; empty: the connection has ended."""
        async with patience(3):
            try:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
                return await self.reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""

    async def join(self, peer: IcePeer) -> None:
        self.send(check_of(peer))
        assert stun.parse_message(await self.receive()).message_class == stun.Class.RESPONSE

    def close(self) -> None:
        self.writer.close()


def check_of(peer: IcePeer, password: str = "", nominate: bool = False) -> bytes:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{peer.ufrag}:them"
    request.attributes["ICE-CONTROLLING"] = 1
    if nominate:
        request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity((password or peer.password).encode())
    return bytes(request)


def known_peer(tcp: TcpTransport) -> tuple[IcePeer, Receiver]:
    receiver = Receiver()
    peer = IcePeer(receiver)
    tcp.ice.add(peer)
    return peer, receiver


async def test_both_ways_after_a_check(tcp: TcpTransport) -> None:
    peer, receiver = known_peer(tcp)
    client = await Client.open(tcp)
    whole = frame(check_of(peer))
    for byte in whole:  # in as many pieces as there can be
        client.writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert await client.receive()
    assert receiver.selected == 1
    client.send(b"", b"\x16hello", b"\x80media")
    async with patience(2):
        while not receiver.srtp:
            await receiver.news.wait()
            receiver.news.clear()
    assert (receiver.dtls, receiver.srtp) == ([b"\x16hello"], [b"\x80media"])
    assert tcp.ice.send(peer, [b"one", b"two"]) == 2
    assert tcp.ice.send_run(peer, memoryview(bytearray(b"aabbc")), 2) == 3
    assert [await client.receive() for _ in range(5)] == [b"one", b"two", b"aa", b"bb", b"c"]
    tcp.ice.remove(peer)
    assert await client.receive() == b"", "the connection ends with its session"
    assert not tcp.connections
    client.close()


async def test_a_peer_goes_on_with_another_connection(tcp: TcpTransport) -> None:
    peer, _ = known_peer(tcp)
    first = await Client.open(tcp)
    await first.join(peer)
    first.close()
    async with patience(2):
        while tcp.connections:
            await asyncio.sleep(0.01)
    assert peer.full, "nothing is made ready for it"
    assert tcp.ice.send(peer, [b"x"]) == 0
    second = await Client.open(tcp)
    await second.join(peer)
    assert tcp.ice.send(peer, [b"x"]) == 1
    assert await second.receive() == b"x"
    assert tcp.closed == {"left": 1}
    third = await Client.open(tcp)
    third.send(check_of(peer, nominate=True))
    assert await third.receive()
    assert tcp.ice.send(peer, [b"y"]) == 1
    assert await third.receive() == b"y", "where the peer has nominated"
    for client in (second, third):
        client.close()


async def test_whoever_is_not_known_is_shut_out(tcp: TcpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_transport, "FIRST_CHECK_SECONDS", 0.1)
    peer, receiver = known_peer(tcp)
    for first in (
        frame(check_of(peer, password="x" * 24)),
        frame(b"\x16 a handshake before any check"),
        frame(b""),
        b"GET / HTTP/1.1\r\n\r\n",
        (MAX_FRAME_BYTES + 1).to_bytes(2, "big"),
        b"",
        b"\x00",
        frame(check_of(peer))[:-1],
    ):
        client = await Client.open(tcp)
        client.writer.write(first)
        assert await client.receive() == b"", first
        client.close()
    assert (receiver.dtls, receiver.selected) == ([], 0)
    assert tcp.closed == {"not_a_check": 3, "oversize": 2, "no_check": 3}
    assert not tcp.unknown
    assert not tcp.connections


async def test_a_session_ends_no_other_and_takes_no_other(tcp: TcpTransport) -> None:
    (mine, _), (other, others) = known_peer(tcp), known_peer(tcp)
    client = await Client.open(tcp)
    await client.join(mine)
    client.send(check_of(other), b"\x16 to mine")
    assert await client.receive()
    assert (other.address, others.selected) == (None, 0), "a connection stays with its session"
    for bad in (frame(bytes(MAX_FRAME_BYTES)), b"\xff\xff"):
        client.writer.write(bad)
    assert await client.receive() == b""
    assert tcp.closed == {"oversize": 1}
    client.close()


async def test_floods_are_bounded(tcp: TcpTransport) -> None:
    peer, _ = known_peer(tcp)
    idle = [await Client.open(tcp) for _ in range(MAX_UNKNOWN_OF_HOST + 5)]
    async with patience(3):
        while tcp.closed["crowded"] < 5:
            await asyncio.sleep(0.01)
    assert len(tcp.unknown) == MAX_UNKNOWN_OF_HOST
    known = [await Client.open(tcp) for _ in range(MAX_OF_SESSION + 2)]
    for client in known:
        await client.join(peer)
    assert len(peer.connections) == MAX_OF_SESSION
    assert peer.sender in peer.connections, "the one in use stays"
    known[0].writer.write(b"\0\0" * (MAX_FRAMES_PER_SECOND * 3))
    assert await known[0].receive() == b""
    assert tcp.closed["flood"] == 1
    for client in (*idle, *known):
        client.close()


async def test_a_peer_that_reads_nothing_has_a_bounded_queue(tcp: TcpTransport) -> None:
    peer, _ = known_peer(tcp)
    client = await Client.open(tcp)
    await client.join(peer)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    run = memoryview(bytearray(32 * 1200))
    taken = 0
    while tcp.ice.send_run(peer, run, 1200):
        taken += 1
        assert taken < 1000, "there is no end of it"
    assert peer.full
    (connection,) = tcp.connections
    while tcp.ice.send(peer, [bytes(1200)]):
        pass
    assert connection._wire.get_write_buffer_size() <= 64 * 1024 + 4096  # type: ignore[union-attr]
    assert tcp.ice.dropped_send_full > 0
    client.close()


async def test_the_port_is_told_and_must_be_free(tcp: TcpTransport) -> None:
    assert tcp.ice.candidates[1].split()[2:] == [
        "tcp",
        str((90 << 24) | (((4 << 13) | 8191) << 8) | 255),
        "127.0.0.1",
        str(tcp.port),
        "typ",
        "host",
        "tcptype",
        "passive",
    ]
    with pytest.raises(Conflict, match=f"TCP port {tcp.port}"):
        await TcpTransport.open(tcp.port, tcp.ice)

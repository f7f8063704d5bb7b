"""The shared UDP port: who is who, and who is nobody. Real sockets on loopback."""

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioice import stun
from aioice.ice import get_host_addresses

from schemas.errors import Conflict, InvalidValue
from services.webrtc_gateway.transport.hosts import Host, default_hosts
from services.webrtc_gateway.transport.ice import CONSENT_SECONDS, IcePeer, SharedIceTransport

pytestmark = pytest.mark.integration


class Receiver:
    def __init__(self) -> None:
        self.dtls: list[bytes] = []
        self.srtp: list[bytes] = []
        self.selected = 0
        self.news = asyncio.Event()

    def receive_dtls(self, datagram: bytes) -> None:
        self.dtls.append(datagram)
        self.news.set()

    def receive_srtp(self, datagram: bytes) -> None:
        self.srtp.append(datagram)
        self.news.set()

    def path_selected(self) -> None:
        self.selected += 1


class Client:
    """A peer's socket that can check connectivity."""

    def __init__(self, port: int, address: str = "127.0.0.1", source: str = "") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((source or address, 0))
        self.socket.setblocking(False)
        self.socket.connect((address, port))

    async def check(self, peer: IcePeer, *, password: str | None = None, nominate: bool = False) -> bool:
        """Whether a binding request of that session is answered."""
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{peer.ufrag}:them"
        request.attributes["ICE-CONTROLLING"] = 1
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity((password or peer.password).encode())
        self.socket.send(bytes(request))
        return await self.receive() is not None

    async def receive(self) -> bytes | None:
        try:
            async with asyncio.timeout(0.2):
                return await asyncio.get_running_loop().sock_recv(self.socket, 2048)
        except TimeoutError:
            return None


@pytest.fixture
async def transport() -> AsyncIterator[SharedIceTransport]:
    transport = SharedIceTransport.open(0, ["127.0.0.1"], bind="127.0.0.1")
    yield transport
    transport.close()


async def test_sessions_are_told_apart_on_one_port(transport: SharedIceTransport) -> None:
    receivers = [Receiver(), Receiver()]
    peers = [IcePeer(receiver) for receiver in receivers]
    clients = [Client(transport.port) for _ in peers]
    for peer, client in zip(peers, clients, strict=True):
        transport.add(peer)
        assert await client.check(peer)
    for number, client in enumerate(clients):
        client.socket.send(bytes([22, number]))
        client.socket.send(bytes([128, number]))
        await receivers[number].news.wait()
    for number, (receiver, peer, client) in enumerate(zip(receivers, peers, clients, strict=True)):
        assert receiver.dtls == [bytes([22, number])]
        assert transport.send(peer, [b"to", b"you"]) == 2
        assert [await client.receive(), await client.receive()] == [b"to", b"you"]
        client.socket.close()


async def test_nothing_passes_before_a_check(transport: SharedIceTransport) -> None:
    receiver = Receiver()
    peer = IcePeer(receiver)
    transport.add(peer)
    client = Client(transport.port)
    client.socket.send(bytes([22, 1]))
    assert not await client.check(peer, password="x" * 24)
    assert transport.send(peer, [b"x"]) == 0
    assert (receiver.dtls, receiver.selected, transport.dropped_unknown) == ([], 0, 2)
    client.socket.close()


async def test_the_peer_moves_only_when_it_nominates(transport: SharedIceTransport) -> None:
    receiver = Receiver()
    peer = IcePeer(receiver)
    transport.add(peer)
    first, second = Client(transport.port), Client(transport.port)
    assert await first.check(peer)
    assert await second.check(peer)
    assert peer.address == first.socket.getsockname()
    assert await second.check(peer, nominate=True)
    assert peer.address == second.socket.getsockname()
    assert receiver.selected == 1
    transport.remove(peer)
    assert not await second.check(peer)
    first.socket.close()
    second.socket.close()


def _addresses_of_bridges() -> set[str]:
    shown = subprocess.run(["ip", "-json", "address"], capture_output=True, check=True, timeout=10).stdout
    return {
        address["local"]
        for interface in json.loads(shown)
        if Path(f"/sys/class/net/{interface['ifname']}/bridge").exists()
        for address in interface["addr_info"]
    }


async def test_alone_on_its_machine_only_that_is_heard() -> None:
    transport = SharedIceTransport.open(0, bind="127.0.0.1")
    try:
        told = [candidate.split()[4] for candidate in transport.candidates]
        assert told[0] == "127.0.0.1"
        assert told == list(dict.fromkeys(("127.0.0.1", *get_host_addresses(use_ipv4=True, use_ipv6=False))))
        assert transport.listening == ((socket.AF_INET, "127.0.0.1"),)  # whoever else listens beside it
        peer = IcePeer(Receiver())
        transport.add(peer)
        for address in told:
            if address in _addresses_of_bridges():  # containers' own: rules of the host write another sender into it
                continue
            client = Client(transport.port, address)
            assert await client.check(peer)
            client.socket.close()
        stranger = Client(transport.port, "127.0.0.1", source="127.0.0.9")
        assert not await stranger.check(peer)
        stranger.socket.close()
    finally:
        transport.close()


async def test_many_addresses_of_one_session_stay_bounded(transport: SharedIceTransport) -> None:
    peer = IcePeer(Receiver())
    transport.add(peer)
    clients = [Client(transport.port) for _ in range(12)]
    for client in clients:
        assert await client.check(peer)
        client.socket.close()
    assert len(peer.paths) <= 8
    assert peer.address in peer.paths


def test_consent_expires() -> None:
    peer = IcePeer(Receiver())
    assert not peer.consent_expired(time.monotonic())
    assert peer.consent_expired(time.monotonic() + CONSENT_SECONDS + 1)


async def test_candidates_and_hosts(transport: SharedIceTransport) -> None:
    assert transport.candidates == (f"1 1 udp 2130706431 127.0.0.1 {transport.port} typ host",)
    assert default_hosts()[-1] == Host("127.0.0.1")
    with pytest.raises(InvalidValue, match="webrtc_hosts"):
        SharedIceTransport.open(0, ["edge.local"])
    with pytest.raises(Conflict, match=str(transport.port)):
        SharedIceTransport.open(transport.port, ["127.0.0.1"], bind="127.0.0.1")


async def test_both_address_families_share_a_port() -> None:
    transport = SharedIceTransport.open(0, ["127.0.0.1", "::1"])
    try:
        assert len(transport.candidates) == 2
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect(("::1", transport.port))
        peer = IcePeer(Receiver())
        transport.add(peer)
        sender = Client(transport.port)
        sender.socket.close()
        sender.socket = client
        assert await sender.check(peer)
        client.close()
    finally:
        transport.close()

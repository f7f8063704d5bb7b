"""Viewers that only take: connected by aiortc (offer, ICE, DTLS), then their sockets are emptied, nothing is decoded.

A process of its own, `python -m tests.bench.egress_sinks <kind> <where> <count>`: connects so many, says so in one
line, and from then on answers each line of its standard input with the RTP packets that all of them got so far.
"""

import asyncio
import contextlib
import itertools
import json
import select
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

CONNECT_SECONDS = 40.0  # 32 handshakes on a busy machine
_CLOSE_SECONDS = 1.0
_KEEPALIVE_SECONDS = 20.0  # Janus forgets a session after 60
_RECEIVE_BUFFER_BYTES = 4 << 20
_FIRST_NOT_OURS = 64  # STUN and DTLS are below (RFC 7983 section 7): the server may still be connecting
_RTCP_TYPES = range(64, 96)  # of the second byte without its highest bit (RFC 5761 section 4)
_SDP = {"Content-Type": "application/sdp"}

Peers = list[RTCPeerConnection]


def _peer() -> RTCPeerConnection:
    peer = RTCPeerConnection()
    h264 = [codec for codec in RTCRtpReceiver.getCapabilities("video").codecs if codec.mimeType == "video/H264"]
    peer.addTransceiver("video", direction="recvonly").setCodecPreferences(h264)
    return peer


async def _post_offer(http: aiohttp.ClientSession, url: str) -> RTCPeerConnection:
    """WHEP; aiortc's server of this benchmark is asked in the same way."""
    peer = _peer()
    await peer.setLocalDescription(await peer.createOffer())
    async with http.post(url, data=peer.localDescription.sdp, headers=_SDP) as response:
        answer = await response.text()
        if response.status != 201:
            raise SystemExit(f"{url}: {response.status} {answer}")
    await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    return peer


async def _watch_janus(http: aiohttp.ClientSession, url: str) -> RTCPeerConnection:
    transaction = map(str, itertools.count())

    async def ask(path: str, **body: Any) -> dict[str, Any]:
        async with http.post(url + path, json={"transaction": next(transaction), **body}) as response:
            return dict(await response.json(content_type=None))

    session = f"/{(await ask('', janus='create'))['data']['id']}"
    plugin = await ask(session, janus="attach", plugin="janus.plugin.streaming")
    handle = f"{session}/{plugin['data']['id']}"
    await ask(handle, janus="message", body={"request": "watch", "id": 1})
    offer = ""
    while not offer:
        async with http.get(url + session) as response:
            offer = (await response.json(content_type=None)).get("jsep", {}).get("sdp", "")
    peer = RTCPeerConnection()
    await peer.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    answer = {"type": "answer", "sdp": peer.localDescription.sdp}
    await ask(handle, janus="message", body={"request": "start"}, jsep=answer)

    async def keep() -> None:
        while True:
            await asyncio.sleep(_KEEPALIVE_SECONDS)
            await ask(session, janus="keepalive")

    peer.keeper = asyncio.create_task(keep())  # type: ignore[attr-defined]
    return peer


CONNECT: dict[str, Callable[[aiohttp.ClientSession, str], Awaitable[RTCPeerConnection]]] = {
    "framemesh": _post_offer,
    "aiortc": _post_offer,
    "janus": _watch_janus,
}


class Drain(threading.Thread):
    """Empties sockets into one buffer; what belongs to ICE goes where it belongs, so that nobody gives us up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.packets = 0
        self._loop = loop
        self._poll = select.epoll()
        self._by_fd: dict[int, tuple[socket.socket, Any]] = {}

    def take(self, peer: RTCPeerConnection) -> None:
        """From now on this thread reads the peer's socket; the event loop still writes to it."""
        ice = peer.getTransceivers()[0].receiver.transport.transport._connection
        protocol = ice._nominated[1].protocol
        shared = protocol.transport.get_extra_info("socket")
        self._loop._remove_reader(shared.fileno())  # type: ignore[attr-defined]
        sock = socket.fromfd(shared.fileno(), shared.family, shared.type)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self._by_fd[sock.fileno()] = sock, protocol
        self._poll.register(sock.fileno(), select.EPOLLIN)

    def run(self) -> None:
        buffer = bytearray(2048)
        while True:
            for fd, _ in self._poll.poll():
                sock, protocol = self._by_fd[fd]
                with contextlib.suppress(BlockingIOError):
                    while True:
                        size, address = sock.recvfrom_into(buffer)
                        if buffer[0] < _FIRST_NOT_OURS:
                            self._loop.call_soon_threadsafe(protocol.datagram_received, bytes(buffer[:size]), address)
                        elif buffer[0] & 0xC0 == 0x80 and buffer[1] & 0x7F not in _RTCP_TYPES:
                            self.packets += 1


async def main(kind: str, where: str, count: int) -> None:
    loop = asyncio.get_running_loop()
    drain = Drain(loop)
    drain.start()
    async with aiohttp.ClientSession() as http:
        peers: Peers = []

        async def connect() -> None:
            peer = await CONNECT[kind](http, where)
            connected = asyncio.Event()
            check = lambda: peer.connectionState == "connected" and connected.set()  # noqa: E731
            peer.on("connectionstatechange", check)
            check()
            await connected.wait()
            peers.append(peer)
            drain.take(peer)

        async with asyncio.timeout(CONNECT_SECONDS):
            for _ in range(count):  # one after the other: aiortc's server leaves out some of those that come at once
                await connect()
        print(json.dumps({"connected": len(peers)}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(drain.packets, flush=True)
        for peer in peers:
            if keeper := getattr(peer, "keeper", None):
                keeper.cancel()
        await asyncio.wait([asyncio.create_task(peer.close()) for peer in peers], timeout=_CLOSE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

"""A WHIP server: aiohttp and aiortc in a thread of its own; decodes what comes, and answers badly when told to."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import aioice.ice
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpreceiver import RTCRtpReceiver

TOKEN = "b34rer-t0ken"
_CALL_SECONDS = 5.0


class WhipServer:
    """Takes one publisher at `/whip/cam0`; what it sees is read by the test's thread."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port, self._tls = port, tls
        self.refuse: tuple[int, str] | None = None
        """Answered to every offer instead of an answer: status and text."""
        self.edit: Callable[[str], str] = str
        """What becomes of an answer before it is sent."""
        self.redirects = 0
        """So many answers are redirects (307) first."""
        self.links: list[str] = []
        self.pictures: list[Any] = []
        """Decoded pictures, in the order they came."""
        self.sound_seconds = 0.0
        self.sound_pts: list[float] = []
        self.requests: list[tuple[str, str, str]] = []
        """Method, path with query and Authorization of every request."""
        self.offers: list[str] = []
        self._peers: dict[str, RTCPeerConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/whip/cam0?token={TOKEN}"

    def start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        self.call(self._open())

    def stop(self) -> None:
        """As a server that is killed in the eyes of its clients: the port is closed, nobody says goodbye."""
        self.call(self._vanish())

    def close(self) -> None:
        self.call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    def ask_for_key(self) -> None:
        """A picture loss indication from every receiver."""
        self.call(self._pli())

    def hang_up(self) -> None:
        """End the sessions properly, from this side."""
        self.call(self._hang_up())

    @property
    def sessions(self) -> int:
        return len(self._peers)

    def call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_SECONDS)

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_post("/whip/{tail:.*}", self._post)
        app.router.add_delete("/session/{id}", self._delete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True).start()

    async def _vanish(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        for peer in self._peers.values():  # the sockets go, and no word is said
            for transceiver in peer.getTransceivers():
                connection = transceiver.receiver.transport.transport._connection
                for protocol in connection._protocols:
                    protocol.transport.abort()
        self._peers.clear()

    async def _hang_up(self) -> None:
        peers, self._peers = list(self._peers.values()), {}
        for peer in peers:
            await peer.close()

    async def _close(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _post(self, request: web.Request) -> web.Response:
        self.requests.append(("POST", request.path_qs, request.headers.get("Authorization", "")))
        if self.redirects:
            self.redirects -= 1
            return web.Response(status=307, headers={"Location": f"/whip/cam0/hop{self.redirects}"})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401, text="who are you")
        if self.refuse:
            return web.Response(status=self.refuse[0], text=self.refuse[1])
        peer = RTCPeerConnection()
        offer = await request.text()
        self.offers.append(offer)
        peer.on("track", self._take)
        await peer.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        name = str(len(self.offers))
        self._peers[name] = peer
        return web.Response(
            status=201,
            text=self.edit(peer.localDescription.sdp),
            content_type="application/sdp",
            headers=[("Location", f"/session/{name}"), *(("Link", link) for link in self.links)],
        )

    async def _delete(self, request: web.Request) -> web.Response:
        self.requests.append(("DELETE", request.path_qs, request.headers.get("Authorization", "")))
        peer = self._peers.pop(request.match_info["id"], None)
        if peer is None:
            return web.Response(status=404)
        await peer.close()
        return web.Response()

    async def _pli(self) -> None:
        for peer in self._peers.values():
            for transceiver in peer.getTransceivers():
                receiver: RTCRtpReceiver = transceiver.receiver
                if transceiver.kind == "video":
                    for source in receiver.getSynchronizationSources():
                        await receiver._send_rtcp_pli(source.source)

    def _take(self, track: MediaStreamTrack) -> None:
        task = self._loop.create_task(self._receive(track))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.pictures.append(frame)
                else:
                    self.sound_seconds += frame.samples / frame.sample_rate
                    self.sound_pts.append(float(frame.pts * frame.time_base))


@contextlib.contextmanager
def whip_server(port: int, tls: ssl.SSLContext | None = None) -> Iterator[WhipServer]:
    others = aioice.ice.get_host_addresses
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # loopback only
    server = WhipServer(port, tls)
    server.start()
    try:
        yield server
    finally:
        server.close()
        aioice.ice.get_host_addresses = others

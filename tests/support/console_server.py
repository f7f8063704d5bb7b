"""Serves the console page with a made-up mesh, as the gateway does, and pictures through aiortc.

The page runs under the strictest content policy it must bear: nothing inline, nothing from elsewhere.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aioice.ice
import av
import msgspec
import numpy as np
from aiohttp import WSMsgType, web
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from schemas.commands import MeshStatus
from schemas.events import Event

CONSOLE = Path(__file__).parents[2] / "services" / "webrtc_gateway" / "console"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PICTURE_WIDTH, PICTURE_HEIGHT = 640, 360


class Pattern(VideoStreamTrack):
    """Slow diagonal waves with, when given, a mark burnt in by `burn(luma, ms)`."""

    def __init__(self, hue: int, burn: Callable[[np.ndarray, int], None] | None) -> None:
        super().__init__()
        self.hue, self.burn = hue, burn
        self.plane = np.add.outer(np.arange(PICTURE_HEIGHT), np.arange(PICTURE_WIDTH)).astype(np.uint16)

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        phase = pts // 900
        planes = np.empty((PICTURE_HEIGHT * 3 // 2, PICTURE_WIDTH), np.uint8)
        planes[:PICTURE_HEIGHT] = 48 + ((self.plane + phase) % 256) // 2
        planes[PICTURE_HEIGHT:] = 128
        planes[PICTURE_HEIGHT : PICTURE_HEIGHT * 5 // 4] = self.hue
        if self.burn:
            self.burn(planes[:PICTURE_HEIGHT], time.time_ns() // 1_000_000)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = pts, time_base
        return frame


class ConsoleServer:
    """One gateway as the page sees it; `stop()` is abrupt and `start()` takes the same port again."""

    def __init__(self, status: MeshStatus, pictures: bool = False) -> None:
        self.status = status
        self.pictures = pictures
        self.port = 0
        self.posts: list[tuple[float, str]] = []
        self.deletes: list[str] = []
        self.burn: Callable[[np.ndarray, int], None] | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self._peers: dict[str, RTCPeerConnection] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        app = web.Application()
        app.on_response_prepare.append(_add_policy)
        app.router.add_get("/", lambda _: _file(CONSOLE / "index.html"))
        app.router.add_static("/console/", CONSOLE)
        app.router.add_get("/api/events", self._events)
        app.router.add_post("/whep/{stream}", self._offer)
        app.router.add_delete("/whep/{stream}/sessions/{session}", self._delete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """As if killed: sockets are cut, peers fall silent."""
        for socket in list(self._sockets):
            if socket._req and socket._req.transport:
                socket._req.transport.abort()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        peers, self._peers = list(self._peers.values()), {}
        await asyncio.gather(*(peer.close() for peer in peers))

    async def show(self, status: MeshStatus) -> None:
        self.status = status
        await self._send({"type": "status", "status": _plain(status)})

    async def emit(self, event: Event) -> None:
        await self._send({"type": "event", "event": _plain(event)})

    async def _send(self, message: dict[str, Any]) -> None:
        for socket in list(self._sockets):
            await socket.send_str(json.dumps(message))

    async def _events(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"type": "status", "status": _plain(self.status)}))
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    ping = json.loads(message.data)
                    await socket.send_str(
                        json.dumps({"type": "pong", "t": ping["t"], "server_ms": time.time_ns() / 1_000_000})
                    )
        finally:
            self._sockets.discard(socket)
        return socket

    async def _offer(self, request: web.Request) -> web.Response:
        stream = request.match_info["stream"]
        self.posts.append((time.monotonic(), stream))
        known = {entry.spec.stream for entry in self.status.streams}
        if not self.pictures or stream not in known:
            return web.json_response({"code": 404, "message": f"no pictures of {stream} here"}, status=404)
        peer = RTCPeerConnection()
        session = f"s{len(self.posts)}"
        self._peers[session] = peer
        offer = RTCSessionDescription(await request.text(), "offer")
        peer.addTrack(Pattern(60 + 45 * (sum(stream.encode()) % 4), self.burn))
        await peer.setRemoteDescription(offer)
        await peer.setLocalDescription(await peer.createAnswer())
        location = f"/whep/{stream}/sessions/{session}"
        return web.Response(
            status=201, text=peer.localDescription.sdp, content_type="application/sdp", headers={"Location": location}
        )

    async def _delete(self, request: web.Request) -> web.Response:
        session = request.match_info["session"]
        self.deletes.append(session)
        if peer := self._peers.pop(session, None):
            await peer.close()
        return web.Response()


def use_loopback_only() -> None:
    """aioice leaves loopback out of its candidates; tests want nothing else."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


async def _file(path: Path) -> web.FileResponse:
    return web.FileResponse(path)


async def _add_policy(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["Cache-Control"] = "no-store"


def _plain(value: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(value))

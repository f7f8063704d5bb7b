"""The console's data: the state of the mesh once over HTTP, and as it changes over a WebSocket."""

import asyncio
import contextlib
import logging
import time
from collections import Counter

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from schemas.errors import TooMany
from schemas.packets import UNREADABLE
from services.webrtc_gateway.auth.credentials import SUBPROTOCOL
from services.webrtc_gateway.auth.grant import Grant, grant_of
from services.webrtc_gateway.auth.visible import visible_message, visible_status
from services.webrtc_gateway.egress.source import StatusFeed
from services.webrtc_gateway.signalling.whep import refused

logger = logging.getLogger(__name__)

MAX_CONSOLES = 64  # pages open at once; each costs one copy of every change
_SEND_SECONDS = 5.0  # a page that cannot take one message in this time is gone or hopeless
_HEARTBEAT_SECONDS = 20.0  # finds peers that vanished, and keeps proxies from closing the connection
_GOODBYE_SECONDS = 1.0  # of the few that a service has to end in
_MAX_MESSAGE_BYTES = 4096  # pages only send pings


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    """`t` is the page's own clock; it comes back so that the page can tell the round trip."""

    t: float


_ping_decoder = msgspec.json.Decoder(Ping)


class EventRoutes:
    """`GET /api/status` and the WebSocket `/api/events`."""

    def __init__(self, status: StatusFeed, dropped: Counter[str]) -> None:
        self._status = status
        self._dropped = dropped
        self._sockets: set[web.WebSocketResponse] = set()

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/status", self._get_status)
        app.router.add_get("/api/events", self._events)
        app.on_shutdown.append(self._close_all)

    async def _get_status(self, request: web.Request) -> web.Response:
        return web.Response(
            body=msgspec.json.encode(visible_status(self._status.current(), grant_of(request))),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._sockets) >= MAX_CONSOLES:
            return refused(TooMany(f"{MAX_CONSOLES} consoles are open; close one"))
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_SECONDS, max_msg_size=_MAX_MESSAGE_BYTES, protocols=(SUBPROTOCOL,)
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        writer = asyncio.create_task(self._write(socket, grant_of(request)))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT and not await self._answer(socket, message.data):
                    break
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            self._sockets.discard(socket)
        return socket

    async def _write(self, socket: web.WebSocketResponse, grant: Grant) -> None:
        try:
            async with asyncio.timeout(grant.left_seconds):
                async for text in self._status.subscribe():
                    message = visible_message(text, grant)
                    if message is not None and not await self._send(socket, message.decode()):
                        return
        except TimeoutError:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"the token has expired")

    async def _answer(self, socket: web.WebSocketResponse, text: str) -> bool:
        try:
            ping = _ping_decoder.decode(text)
        except UNREADABLE:
            return True  # a newer page may say things that we do not know
        pong = msgspec.json.encode({"type": "pong", "t": ping.t, "server_ms": time.time_ns() / 1e6})
        return await self._send(socket, pong.decode())

    async def _send(self, socket: web.WebSocketResponse, text: str) -> bool:
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await socket.send_str(text)
        except TimeoutError:
            self._dropped["console_closed"] += 1
            logger.info("console closed: it did not take a message within %.0f s", _SEND_SECONDS)
            if socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()  # a polite close would wait behind the same full buffer
            return False
        except ConnectionError:
            return False
        return True

    async def _close_all(self, app: web.Application) -> None:
        closing = [
            asyncio.create_task(socket.close(code=WSCloseCode.GOING_AWAY, message=b"shutting down"))
            for socket in self._sockets
        ]
        if closing:
            # All at once: pages that do not answer must not hold the end up one after the other.
            _, late = await asyncio.wait(closing, timeout=_GOODBYE_SECONDS)
            for task in late:
                task.cancel()

"""`/signaling`: the WebSocket of each connection, from its first message to its close frame."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any, cast, get_args

import msgspec
from aiohttp import WSMsgType, web

from schemas.errors import BadRequest, MeshError, TooMany, Unavailable
from schemas.sora import MAX_CHANNEL_BYTES
from schemas.tokens import Action
from schemas.units import parse_bitrate
from services.webrtc_gateway.auth.guard import WITHDRAWN, Guard
from services.webrtc_gateway.signalling.whep import refusal, refused
from services.webrtc_gateway.sora.attention import PAUSE_SECONDS, Attention, attention_of_all
from services.webrtc_gateway.sora.channels import MAX_CONNECTIONS, Channels
from services.webrtc_gateway.sora.client_messages import Connect, Role, read
from services.webrtc_gateway.sora.connection import NORMAL, REFUSED, Connection, Stop
from services.webrtc_gateway.sora.forwarding import read_forwarding
from services.webrtc_gateway.sora.labels import read_labels
from services.webrtc_gateway.sora.messages import Redirect, write
from services.webrtc_gateway.sora.names import check_channel, rights_name
from services.webrtc_gateway.sora.nesting import check_told
from services.webrtc_gateway.sora.refusal import Redirected, Refusal, refused_as
from services.webrtc_gateway.sora.terms import read_terms
from services.webrtc_gateway.sora.wishes import read_wishes
from services.webrtc_gateway.web.origins import Origins
from shared.tasks import end_tasks

logger = logging.getLogger(__name__)

PATH = "/signaling"
_CONNECT_SECONDS = 10.0  # clients dial several URLs and drop all but one: those say nothing
_SEND_SECONDS = 5.0  # a client that cannot take one message in this time is gone
_CLOSE_SECONDS = 3.0  # for the client's close frame; clients wait as long for ours
_PING_SECONDS = 5.0
_SILENT_SECONDS = 30.0  # six pings without an answer
_MAX_MESSAGE_BYTES = 256 * 1024  # an answer with 16 m-lines has 30 KB, statistics of as many tracks some more
_MAX_CONNECT_CHARACTERS = 32 * 1024
# A name and what belongs to it: the whole channel is told of it whenever its client comes or goes.
_MAX_METADATA_BYTES = 8 * 1024
_MAX_SOCKETS = 2 * MAX_CONNECTIONS  # those that have not said who they are included
_UNHEARD = (WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)  # aiohttp would answer any number of pings
_ACTIONS: dict[Role, tuple[Action, ...]] = {
    "sendonly": ("publish",),
    "recvonly": ("view",),
    "sendrecv": ("publish", "view"),
}


class SoraRoutes:
    """Speaks with clients; `channels` has what is spoken about."""

    def __init__(
        self,
        channels: Channels,
        guard: Guard | None,
        origins: Origins,
        max_bitrate: str,
        redirects: Sequence[str] = (),
    ) -> None:
        """`max_bitrate` is the most that a client may send, whatever it asks for; `redirects` are signalling URLs of
        other gateways, for those who find no room here."""
        self._redirects = itertools.cycle(redirects) if redirects else None
        self._channels, self._guard, self._origins = channels, guard, origins
        self._max_bps = parse_bitrate(max_bitrate, "publish_bitrate")
        self._sockets = 0
        self._attention = attention_of_all()
        self._without_socket: set[asyncio.Task[Any]] = set()
        """Handlers of connections that go on over data channels alone."""
        self.refused: Counter[str] = Counter()
        """Clients that were not let in, by reason."""
        self.unread = 0
        """Messages that were none."""

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(PATH, self._signal)
        app.on_shutdown.append(self._shut_down)

    async def _signal(self, request: web.Request) -> web.StreamResponse:
        # A page of elsewhere can open sockets: where no token is asked for, only known ones may.
        guarded = self._guard is not None and self._guard.tokens.configured
        if not guarded and (why := self._origins.refuses_reading(request)):
            return refusal(403, why)
        if self._sockets >= _MAX_SOCKETS:
            return refused(TooMany(f"{_MAX_SOCKETS} sockets are open; try again in a moment"))
        socket = web.WebSocketResponse(
            timeout=_CLOSE_SECONDS, autoping=False, max_msg_size=_MAX_MESSAGE_BYTES, compress=False
        )
        self._sockets += 1
        try:
            await socket.prepare(request)
            await self._talk(request, socket)
        finally:
            self._sockets -= 1
        return socket

    async def _talk(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                message = await socket.receive()
        except TimeoutError:
            self.refused["CONNECT-TIMEOUT"] += 1
            await socket.close(code=REFUSED, message=b"CONNECT-TIMEOUT")
            return
        if message.type is not WSMsgType.TEXT:
            await socket.close(code=REFUSED, message=b"INVALID-MESSAGE")  # or closed already: another URL was faster
            return
        try:
            connection = self._enter(request, message.data)
        except Redirected as error:
            self.refused["REDIRECTED"] += 1
            with contextlib.suppress(ConnectionError, TimeoutError):  # gone, or it reads nothing
                async with asyncio.timeout(_SEND_SECONDS):
                    await socket.send_str(write(Redirect(error.location)))
            await socket.close(code=NORMAL, message=b"REDIRECTED")
            return
        except Refusal as error:
            self.refused[error.reason] += 1
            await socket.close(code=REFUSED, message=error.text)
            return
        try:
            stop = await self._serve(request, socket, connection)
            # Before the media end: a client that loses those first reports an error.
            with contextlib.suppress(ConnectionError):
                await socket.close(code=stop.code, message=stop.reason.encode())
        finally:
            await self._channels.leave(connection)

    def _enter(self, request: web.Request, text: str) -> Connection:
        """Raises:
        Refusal: what the first message asks for is not to be had.
        Redirected: it may be had at another gateway.
        """
        if len(text) > _MAX_CONNECT_CHARACTERS:
            raise Refusal("INVALID-MESSAGE")
        try:
            connect = read(text)
        except msgspec.DecodeError as error:
            logger.info("signalling: the first message is none: %s", type(error).__name__)
            raise Refusal("INVALID-MESSAGE", str(error)) from None
        if not isinstance(connect, Connect):
            raise Refusal("INVALID-MESSAGE")
        if connect.role not in get_args(Role):
            raise Refusal("INVALID-ROLE")
        role = cast(Role, connect.role)
        try:
            check_channel(connect.channel_id)
        except BadRequest:
            raise Refusal("INVALID-CHANNEL-ID") from None
        for name in ("client_id", "bundle_id"):
            if len((getattr(connect, name) or "").encode()) > MAX_CHANNEL_BYTES:
                raise Refusal("INVALID-MESSAGE", f"{name}: give at most {MAX_CHANNEL_BYTES} bytes")
        with refused_as("INVALID-MESSAGE"):
            check_told("signaling_notify_metadata", connect.signaling_notify_metadata, _MAX_METADATA_BYTES)
        if self._guard is not None:
            try:
                self._guard.admit_within(request, connect.token, _ACTIONS[role], rights_name(connect.channel_id))
            except TooMany:
                raise Refusal("TOO-OFTEN") from None
            except MeshError as error:
                logger.info("signalling of %s: not let in, %s", connect.role, type(error).__name__)
                raise Refusal("AUTHZ-REJECTED") from None
        terms = read_terms(connect, self._max_bps)
        with refused_as("INVALID-FORWARDING-FILTER"):
            forwarding = read_forwarding(connect.forwarding_filter, connect.forwarding_filters)
        with refused_as("INVALID-LAYER"):
            wishes = read_wishes(connect)
        with refused_as("INVALID-DATA-CHANNELS"):
            labels = read_labels(connect.data_channels) if connect.data_channel_signaling else ()
        try:
            return self._channels.enter(
                connect,
                role,
                terms,
                forwarding,
                client=connect.client,
                address=request.remote or "",
                labels=labels,
                wishes=wishes,
            )
        except (TooMany, Unavailable) as error:
            # Only once: two that are full would send it to and fro.
            if self._redirects is not None and not connect.redirect:
                raise Redirected(next(self._redirects)) from None
            raise Refusal("TOO-MANY" if isinstance(error, TooMany) else "UNAVAILABLE") from None

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse, connection: Connection) -> Stop:
        """Until either side ends it. The one who closes the socket is the caller, when nobody reads it any more:
        else the socket would be torn down before the client has read our close frame."""
        writer = asyncio.create_task(self._write(socket, connection))
        reader: asyncio.Task[None] = asyncio.create_task(self._read(socket, connection))
        try:
            connection.begin()
            await asyncio.wait((reader, connection.stopped), return_when=asyncio.FIRST_COMPLETED)
            if not connection.stopped.done() and reader.done() and (error := reader.exception()) is not None:
                logger.error("signalling of connection %s", connection.id[:8], exc_info=error)
                connection.stop(REFUSED, "INTERNAL-ERROR")
            if not connection.stopped.done():
                return await self._serve_without(request, connection)
            return await connection.stopped
        finally:
            await end_tasks(reader, writer)

    async def _serve_without(self, request: web.Request, connection: Connection) -> Stop:
        """The client goes on without its WebSocket: aiohttp has forgotten this handler, but lets it run."""
        handler = asyncio.current_task()
        assert handler is not None
        request[WITHDRAWN] = lambda: connection.stop(REFUSED, "AUTHZ-REJECTED")
        self._without_socket.add(handler)
        handler.add_done_callback(self._without_socket.discard)
        return await connection.stopped

    async def _read(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        pinged_s = heard_s = time.monotonic()
        attention = Attention(self._attention)
        while not connection.stopped.done():
            if attention.is_spent:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                async with asyncio.timeout(max(0.0, pinged_s + _PING_SECONDS - time.monotonic())):
                    message = await socket.receive()
            except TimeoutError:
                pinged_s = time.monotonic()
                if pinged_s - heard_s > _SILENT_SECONDS:
                    connection.stop(REFUSED, "SILENT")
                connection.ping()
                continue
            heard_s = time.monotonic()
            if message.type is WSMsgType.TEXT:
                self.unread += not attention.give(connection.hear, message.data)
            elif message.type in _UNHEARD:
                attention.count()
                self.unread += message.type is WSMsgType.BINARY
                if message.type is WSMsgType.PING:
                    await _sent(connection, socket.pong(message.data))
            else:  # closed, or broken
                connection.socket_lost()
                return

    async def _write(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        ways = connection.ways
        while True:
            await ways.has_unsent.wait()
            ways.has_unsent.clear()
            while ways.unsent:
                if not await _sent(connection, socket.send_str(ways.unsent.popleft())):
                    return

    async def _shut_down(self, app: web.Application) -> None:
        self._channels.stop()
        if self._without_socket:
            await asyncio.wait(self._without_socket, timeout=_CLOSE_SECONDS)


async def _sent(connection: Connection, sending: Awaitable[None]) -> bool:
    """Whether it goes out; who takes nothing is cut off."""
    try:
        async with asyncio.timeout(_SEND_SECONDS):
            await sending
    except TimeoutError:
        connection.stop(REFUSED, "TOO-SLOW")
        return False
    except ConnectionError:
        return False  # the reader hears of it, too, and knows what that means
    return True

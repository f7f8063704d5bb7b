"""The HTTP door: WHEP, the console's pages and the console's data on one port."""

import asyncio
import mimetypes
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aiohttp import web

from schemas.errors import Conflict
from services.webrtc_gateway.auth.grant import EVERYTHING, GRANT
from services.webrtc_gateway.auth.guard import Guard
from services.webrtc_gateway.auth.login import LoginRoutes
from services.webrtc_gateway.auth.rules import rule_of
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.egress.source import StatusFeed
from services.webrtc_gateway.signalling.whep import MAX_OFFER_BYTES, WhepRoutes, refusal
from services.webrtc_gateway.transport.ice_servers import IceServers
from services.webrtc_gateway.web.events import EventRoutes
from services.webrtc_gateway.web.exchange import Exchange, Handler
from services.webrtc_gateway.web.origins import Origins
from shared.door.connections import Connections
from shared.door.expectation import without_expectation
from shared.door.quiet_logs import keep_tokens_out

CONSOLE_DIR = Path(__file__).parent.parent / "console"
_SHUTDOWN_SECONDS = 2.0  # requests in flight get this long when the door closes
_HANDSHAKE_SECONDS = 10.0  # of TLS; those who are slower are not there to ask for anything
# A connection without a whole request, from its first byte on; proxies let go of theirs after 60 s at the most.
_IDLE_SECONDS = 75.0

# Everything comes from here and nothing is inline: a hostile stream name or error text cannot become code.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Routes(Protocol):
    """One part of what is served; it asks `auth.grant.grant_of(request)` what whoever asks may do."""

    def add_to(self, app: web.Application) -> None: ...


def build_app(
    gateway: WhepGateway,
    status: StatusFeed,
    origins: Origins | None = None,
    console_dir: Path = CONSOLE_DIR,
    *,
    parts: Sequence[Routes] = (),
    guard: Guard | None = None,
    hsts_seconds: int = 0,
    ice_servers: IceServers | None = None,
) -> web.Application:
    """Everything that is served over HTTP, to the pages of `origins`; None: to the console only.

    `console_dir` holds index.html and what it loads; `parts` is what is served besides sessions, state and console.
    `guard` asks for tokens and limits how often one may come; None: neither. `hsts_seconds`: see `DoorSettings`.
    `ice_servers` are told to viewers.
    """
    origins = origins or Origins()
    exchange = Exchange()

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await exchange.answered(request, handler)

    @web.middleware
    async def only_known_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
        why = origins.refuses(request)
        if why:
            return refusal(403, why)
        if guard is None or not guard.tokens.configured:
            why = "" if request.method != "GET" or rule_of(request).open else origins.refuses_reading(request)
            if why:
                return refusal(403, why)
        if guard is not None:
            return await guard.admit(request, handler)
        request[GRANT] = EVERYTHING
        return await handler(request)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(origins.headers(request))
        response.headers["Content-Security-Policy"] = CONTENT_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"  # whose streams are watched is nobody's business
        if hsts_seconds:
            response.headers["Strict-Transport-Security"] = f"max-age={hsts_seconds}"
        # After an upgrade a page must not mix old modules with new ones.
        response.headers.setdefault("Cache-Control", "no-cache")

    app = web.Application(client_max_size=MAX_OFFER_BYTES, middlewares=[answered, only_known_pages])
    app.on_response_prepare.append(add_headers)
    keep_tokens_out()
    WhepRoutes(gateway, ice_servers).add_to(app)
    EventRoutes(status, gateway.counters.console_dropped).add_to(app)
    if guard is not None:
        LoginRoutes(guard).add_to(app)
    for part in parts:
        part.add_to(app)
    mimetypes.add_type("text/javascript", ".js")  # some systems say text/plain, and browsers refuse such modules

    async def index(request: web.Request) -> web.StreamResponse:
        page = console_dir / "index.html"
        if not page.is_file():
            return refusal(404, "the console's pages are not installed")
        return web.FileResponse(page, headers={"Cache-Control": "no-cache"})

    app.router.add_get("/", index)
    app.router.add_get("/console", index)
    app.router.add_get("/console/", index)
    if console_dir.is_dir():
        app.router.add_static("/console/", console_dir)
    return app


class HttpDoor:
    """The application, listening; over TLS with `tls`."""

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        connections: Connections | None = None,
    ) -> None:
        """`connections` limits those of one address; None: as it comes."""
        self._connections = connections or Connections()
        self._listening: asyncio.Server | None = None
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=_IDLE_SECONDS,
            auto_decompress=False,  # nothing that comes here is worth it, and what unfolds is not bounded
        )
        self._host, self._port, self._tls = host, port, tls

    async def start(self) -> int:
        """Listen; the port, which differs from the one asked for only when that is 0.

        Raises:
            Conflict: the port is taken.
        """
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        server.request_factory = without_expectation(server.request_factory)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                lambda: self._connections.protocol(server),
                self._host,
                self._port,
                ssl=self._tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._tls else None,
            )
        except OSError as error:
            await self._runner.cleanup()
            raise Conflict(
                f"HTTP port {self._port} on {self._host or '*'}: {error.strerror}; free it or set another http_port"
            ) from error
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

"""The HTTP door: WHEP, the console's pages and the console's data on one port."""

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aiohttp import web

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
from shared.door.quiet_logs import keep_tokens_out

CONSOLE_DIR = Path(__file__).parent.parent / "console"

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

"""Signing in: a page gives its token once and gets a cookie; what it may do is told to whoever asks."""

import msgspec
from aiohttp import web

from schemas.errors import MeshError
from schemas.tokens import Action
from services.webrtc_gateway.auth.grant import EVERYTHING, Grant, grant_of
from services.webrtc_gateway.auth.guard import Guard
from services.webrtc_gateway.signalling.whep import refused


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What the page may do; for its buttons, the door asks again each time."""

    tokens: bool
    """False: this gateway has no tokens, everybody may do everything."""
    name: str
    streams: tuple[str, ...]
    actions: tuple[Action, ...]
    expires_s: float | None
    """Seconds since 1970 when the token ends; None: it has no end of its own."""


class LoginRoutes:
    """`POST /api/login` with a token or a cookie (which is renewed), `GET /api/login`, `POST /api/logout`."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/login", self._tell)
        app.router.add_post("/api/login", self._login)
        app.router.add_post("/api/logout", self._logout)

    async def _tell(self, request: web.Request) -> web.Response:
        return _rights(grant_of(request))

    async def _login(self, request: web.Request) -> web.Response:
        grant = grant_of(request)
        response = _rights(grant)
        if grant is not EVERYTHING:
            try:
                self._guard.cookies.set(response, grant, secure=self._guard.clients.is_secure(request))
            except MeshError as error:
                return refused(error)
        return response

    async def _logout(self, request: web.Request) -> web.Response:
        response = web.Response(status=204)
        self._guard.cookies.clear(response)
        return response


def _rights(grant: Grant) -> web.Response:
    rights = Rights(
        tokens=grant is not EVERYTHING,
        name=grant.name,
        streams=grant.streams,
        actions=tuple(sorted(grant.actions)),
        expires_s=grant.expires_s,
    )
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(rights), content_type="application/json", headers=headers)

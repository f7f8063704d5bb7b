"""The WHIP resource over HTTP (RFC 9725): a browser's camera and microphone become a stream."""

import secrets

from aiohttp import web

from schemas.errors import MeshError
from services.webrtc_gateway.auth.grant import grant_of
from services.webrtc_gateway.ingest.gateway import IngestGateway
from services.webrtc_gateway.signalling.whep import (
    USER_BYTES,
    offer_in,
    preflight,
    refusal,
    refused,
    rights_of,
    with_servers,
)
from services.webrtc_gateway.transport.ice_servers import IceServers

_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"


class WhipRoutes:
    """POST an offer to `/whip/<stream>`; DELETE the session that Location names."""

    def __init__(self, gateway: IngestGateway, servers: IceServers | None = None) -> None:
        self._gateway, self._servers = gateway, servers or IceServers()

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/whip/{stream}", self._post)
        app.router.add_options("/whip/{stream}", self._options)
        session = "/whip/{stream}/{session}"
        app.router.add_delete(session, self._delete)
        app.router.add_patch(session, self._patch)
        app.router.add_options(session, self._preflight)

    async def _post(self, request: web.Request) -> web.Response:
        stream = request.match_info["stream"]
        offer = await offer_in(request)
        if isinstance(offer, web.Response):
            return offer
        try:
            answer = await self._gateway.create(stream, offer, rights_of(request, stream))
        except MeshError as error:
            return refused(error)
        headers = {"Location": f"/whip/{stream}/{answer.session}", "ETag": _tag(answer.session)}
        response = web.Response(status=201, text=answer.sdp, content_type=_SDP, headers=headers)
        return with_servers(response, self._servers, answer.session)

    async def _delete(self, request: web.Request) -> web.Response:
        try:
            self._gateway.delete(request.match_info["stream"], request.match_info["session"])
        except MeshError as error:
            return refused(error)
        return web.Response(status=200)

    async def _patch(self, request: web.Request) -> web.Response:
        """Trickled candidates are not needed: an ICE-lite side learns the peer's address from its checks (4.3.1)."""
        session = request.match_info["session"]
        try:
            self._gateway.find(request.match_info["stream"], session)
        except MeshError as error:
            return refused(error)
        if request.content_type != _FRAGMENT:
            return refusal(415, f"send candidates as Content-Type: {_FRAGMENT}")
        match request.headers.get("If-Match"):
            case None:
                return refusal(428, "send If-Match with the ETag of the session")
            case "*":
                return refusal(422, "ICE is not restarted here; DELETE the session and POST a new offer")
            case tag if tag != _tag(session):
                return refusal(412, "If-Match is not the ETag of this session")
        return web.Response(status=204)

    async def _options(self, request: web.Request) -> web.Response:
        response = preflight()
        if not grant_of(request).may("publish", request.match_info["stream"]):
            return response
        return with_servers(response, self._servers, secrets.token_hex(USER_BYTES))

    async def _preflight(self, request: web.Request) -> web.Response:
        return preflight()


def _tag(session: str) -> str:
    """The ETag of a session: of its ICE, which stays what it is."""
    return f'"{session[:8]}"'

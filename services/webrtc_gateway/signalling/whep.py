"""The WHEP resource over HTTP (draft-ietf-wish-whep, RFC 9725 for its shape); `origins` says to which pages."""

import asyncio
import secrets

import msgspec
from aiohttp import web

from schemas.errors import BadRequest, ErrorInfo, MeshError, NotFound
from services.webrtc_gateway.auth.grant import grant_of
from services.webrtc_gateway.datachannels.gate import Rights
from services.webrtc_gateway.egress.gateway import WhepGateway
from services.webrtc_gateway.transport.ice_servers import IceServers
from services.webrtc_gateway.web.client_name import client_name

MAX_OFFER_BYTES = 64 * 1024  # Chromium's is 6-8 KiB
_BODY_SECONDS = 5.0  # an offer fits a few packets; whoever needs longer is holding the door
_SDP = "application/sdp"
USER_BYTES = 4  # of a client that has no session yet; relays tell clients apart by it
RENDITION_HEADER = "X-Framemesh-Rendition"
"""What a viewer gets: `main`, or `main; instead-of=source; reason="it has B-frames"`."""
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "OPTIONS, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "86400",
    "Accept-Post": _SDP,
}


class WhepRoutes:
    """POST an offer to `/whep/<stream>[/<rendition>]`; DELETE the session that Location names."""

    def __init__(self, gateway: WhepGateway, servers: IceServers | None = None) -> None:
        self._gateway, self._servers = gateway, servers or IceServers()

    def add_to(self, app: web.Application) -> None:
        for path in ("/whep/{stream}", "/whep/{stream}/{rendition}"):
            app.router.add_post(path, self._post)
            app.router.add_options(path, self._options)
        session = "/whep/{stream}/{rendition}/{session}"
        app.router.add_delete(session, self._delete)
        app.router.add_patch(session, self._patch)
        app.router.add_options(session, self._preflight)

    async def _post(self, request: web.Request) -> web.Response:
        offer = await offer_in(request)
        if isinstance(offer, web.Response):
            return offer
        try:
            stream = request.match_info["stream"]
            answer = await self._gateway.create(
                stream,
                request.match_info.get("rendition"),
                offer,
                client=client_name(request.headers.get("User-Agent", "")),
                address=request.remote or "",
                rights=rights_of(request, stream),
            )
        except MeshError as error:
            return refused(error)
        headers = {
            "Location": f"/whep/{answer.stream}/{answer.rendition}/{answer.session}",
            "ETag": f'"{answer.session[:8]}"',
            RENDITION_HEADER: answer.rendition,
        }
        if answer.instead_of:
            headers[RENDITION_HEADER] += f'; instead-of={answer.instead_of}; reason="{answer.reason}"'
        response = web.Response(status=201, text=answer.sdp, content_type=_SDP, headers=headers)
        return with_servers(response, self._servers, answer.session)

    async def _delete(self, request: web.Request) -> web.Response:
        try:
            self._gateway.delete(request.match_info["session"])
        except MeshError as error:
            return refused(error)
        return web.Response(status=200)

    async def _patch(self, request: web.Request) -> web.Response:
        """Trickled candidates are not needed: an ICE-lite side learns the peer's address from its checks."""
        if not self._gateway.exists(request.match_info["session"]):
            return refused(NotFound("no such session; it may have ended already"))
        return web.Response(status=204)

    async def _options(self, request: web.Request) -> web.Response:
        """For clients that must know the servers before they make an offer; who has to bring a token brings it."""
        response = preflight()
        if not grant_of(request).may("view", request.match_info["stream"]):
            return response
        return with_servers(response, self._servers, secrets.token_hex(USER_BYTES))

    async def _preflight(self, request: web.Request) -> web.Response:
        return preflight()


async def offer_in(request: web.Request) -> str | web.Response:
    """The text of the offer that is posted, or the answer to a body that is none."""
    if request.content_type != _SDP:
        return refusal(415, f"send the offer as Content-Type: {_SDP}")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return (await request.read()).decode()
    except TimeoutError:
        return refusal(408, f"the offer did not arrive within {_BODY_SECONDS:.0f} s")
    except web.HTTPRequestEntityTooLarge:
        return refusal(413, f"an offer has at most {MAX_OFFER_BYTES} bytes")
    except UnicodeDecodeError:
        return refused(BadRequest("the offer is not UTF-8 text"))


def preflight() -> web.Response:
    """What a page may send here."""
    return web.Response(status=204, headers=_PREFLIGHT)


def with_servers(response: web.Response, servers: IceServers, user: str) -> web.Response:
    """The response, naming the servers; `user` tells clients apart to the relays."""
    for link in servers.links(user):
        response.headers.add("Link", link)
        response.headers["Cache-Control"] = "no-store"
    return response


def rights_of(request: web.Request, stream: str) -> Rights:
    """What the token of a request lets the data channels of its session do."""
    grant = grant_of(request)
    return Rights(control=grant.may("control", stream), all_streams=grant.sees_all)


def refused(error: MeshError) -> web.Response:
    """An error as an answer: its code as the status, an ErrorInfo as the body."""
    response = refusal(error.code, error.message)
    if challenge := getattr(error, "challenge", ""):
        response.headers["WWW-Authenticate"] = challenge
    return response


def refusal(status: int, message: str) -> web.Response:
    headers = {"Retry-After": "2"} if status in (429, 503) else None
    body = msgspec.json.encode(ErrorInfo(code=status, message=message))
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)

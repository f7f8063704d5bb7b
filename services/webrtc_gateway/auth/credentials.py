"""Where a request carries its token: the Authorization header, a WebSocket's subprotocol. Never the URL.

Addresses are written to the logs of proxies, to histories and to Referer headers: a token in a query is not looked at.
A browser cannot set headers of a WebSocket: our own page has a cookie (`auth.cookies`), a page of elsewhere says
`new WebSocket(url, ["framemesh", "bearer." + token])` and is answered with the protocol `framemesh`.
"""

from aiohttp import web

from services.webrtc_gateway.auth.denials import Unauthorized

SUBPROTOCOL = "framemesh"
_BEARER = "bearer."


def token_in(request: web.Request) -> str | None:
    """The token; None: there is none.

    Raises:
        Unauthorized: something is there that is no bearer token, or more than one.
    """
    given = request.headers.getall("Authorization", [])
    if len(given) > 1:
        raise Unauthorized("more than one Authorization header")
    if given:
        scheme, _, token = given[0].partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("write Authorization: Bearer and the token")
        return token.strip()
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return None
    offered = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    tokens = [part.removeprefix(_BEARER) for part in offered if part.startswith(_BEARER)]
    if len(tokens) > 1:
        raise Unauthorized("more than one bearer protocol")
    return tokens[0] if tokens else None

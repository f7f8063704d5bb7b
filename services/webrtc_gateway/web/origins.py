"""Which web pages may talk to the gateway. Where there are no tokens this is what keeps other pages from the cameras.

A browser names the page that asks in `Origin`. Our own page's requests carry the address they are sent to, so any
other origin must be listed. Programs (curl, GStreamer, FFmpeg) send no `Origin` and are not concerned.

Our own page counts only at an address that no outsider can own: an IP address, a name without dots, or a name of a
domain that is never public. At `evil.example`, rebound by its owner's DNS to this machine, a foreign page would look
like ours. So at a public name the page's origin must be listed too. Browsers send no `Origin` with a GET of the same
origin: where no token is asked for, what can be read at a public name that is not listed is the console's files only,
by programs too.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

SETTING = "FRAMEMESH_WEBRTC_GATEWAY_CORS_ORIGINS"
ANY_ORIGIN = "*"
EXPOSED_HEADERS = (
    "Location, ETag, Link, Retry-After, WWW-Authenticate, X-Framemesh-Rendition, X-Framemesh-Sequence,"
    " X-Framemesh-Captured-Ns, X-Framemesh-Off-Ns, X-Framemesh-Origin"
)
# RFC 6761, RFC 6762, RFC 8375, and .internal, which ICANN reserved in 2024 for private use.
_PRIVATE_DOMAINS = (".localhost", ".local", ".home.arpa", ".internal")


class Origins:
    """The pages that may ask: our own, and those of `listed` (`https://wall.example`; `*`: all of them)."""

    def __init__(self, listed: Collection[str] = ()) -> None:
        self._listed = frozenset(origin.lower().rstrip("/") for origin in listed)

    def refuses(self, request: web.Request) -> str:
        """Why the request may not be answered; empty when it may."""
        origin = request.headers.get("Origin")
        if origin is None or self._is_listed(origin):
            return ""
        # A proxy may have ended TLS, so only the addresses are compared.
        address = request.headers.get("Host", "").lower()
        if address != _address(origin):
            return f"pages of {origin} may not use this gateway; to let them, list that origin in {SETTING}"
        if not _is_private(address):
            return f"this gateway is used at {origin}, a public name; to allow that, list that origin in {SETTING}"
        return ""

    def refuses_reading(self, request: web.Request) -> str:
        """Why whoever asks without `Origin` may not read pictures or states here; empty when it may."""
        address = request.headers.get("Host", "").lower()
        if request.headers.get("Origin") or _is_private(address) or ANY_ORIGIN in self._listed:
            return ""
        if any(_address(origin) == address for origin in self._listed):
            return ""
        return (
            f"this gateway has no tokens and is asked as {address}, a public name; to allow that, list it in {SETTING}"
        )

    def headers(self, request: web.Request) -> dict[str, str]:
        """CORS headers of a response: pages of listed origins may read it."""
        origin = request.headers.get("Origin")
        if origin is None or not self._is_listed(origin):
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        }

    def _is_listed(self, origin: str) -> bool:
        return ANY_ORIGIN in self._listed or origin.lower() in self._listed


def _address(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:  # brackets that hold no address
        return None


def _is_private(address: str) -> bool:
    try:
        name = urlsplit(f"//{address}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        name = name.rstrip(".")
        return bool(name) and ("." not in name or name.endswith(_PRIVATE_DOMAINS))
    return True

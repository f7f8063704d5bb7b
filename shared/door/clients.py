"""Who is at the other end: the address of the connection, or what a trusted proxy says of it."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOCAL_HOST: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_V6_HOST_BITS = 64  # of one customer or one LAN: whoever has an IPv6 address has 2^64 of them


class Clients:
    """Tells addresses; `proxies` are believed when they name another one in X-Forwarded-For."""

    def __init__(self, proxies: Sequence[str] = ()) -> None:
        self._proxies: tuple[_Network, ...] = tuple(ipaddress.ip_network(text, strict=False) for text in proxies)

    def address(self, request: web.Request) -> str:
        """The key of whoever asks: an IPv4 address, or the first half of an IPv6 address."""
        address = request.remote or ""
        if self._is_proxy(address):
            # From the right: each proxy adds the one it was asked by, and only ours do not lie.
            for named in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
                if not named.strip():
                    continue
                address = named.strip()
                if not self._is_proxy(address):
                    break
        return _key(address)

    def of_connection(self, address: str) -> str:
        """The key of who connects from there; empty: a proxy, which does so for others."""
        return "" if self._is_proxy(address) else _key(address)

    def is_secure(self, request: web.Request) -> bool:
        """Whether TLS reaches to whoever asks."""
        if request.secure:
            return True
        said = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        return said == "https" and self._is_proxy(request.remote or "")

    def _is_proxy(self, text: str) -> bool:
        address = _parsed(text)
        return address is not None and any(address in network for network in self._proxies)


def asks_this_machine(request: web.Request) -> bool:
    """Whether the header Host names this machine itself: a page of elsewhere may have its own name lead here, and then
    asks in that name."""
    return _LOCAL_HOST.fullmatch(request.host) is not None


def _key(text: str) -> str:
    address = _parsed(text)
    if address is None:
        return "unknown"  # a proxy that says nonsense shares one bucket
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _V6_HOST_BITS), strict=False))
    return str(address)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)  # IPv4 through a socket of both kinds
    return mapped or address

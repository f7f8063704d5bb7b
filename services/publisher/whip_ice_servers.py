"""The STUN and TURN servers that a WHIP endpoint names (RFC 9725 section 4.6), as far as they may be asked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from schemas.errors import MeshError
from shared.netguard import Policy, check

_MAX_ICE_SERVERS = 4  # STUN, and TURN over UDP, TCP and TLS
_LINK = re.compile(r"<([^<>]{1,512})>((?:\s*;\s*[\w-]{1,32}\s*=\s*(?:\"[^\"]{0,512}\"|[^\s;,\"]{1,512}))*)")
_LINK_PARAMETER = re.compile(r";\s*([\w-]+)\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))")
_URL = re.compile(  # RFC 7064 and RFC 7065
    r"(?P<scheme>stun|turns?):(?P<host>[\w.-]{1,253})(?::(?P<port>[0-9]{1,5}))?(?P<query>\?transport=(?:udp|tcp))?",
    re.A,
)
_DEFAULT_PORTS = {"stun": 3_478, "turn": 3_478, "turns": 5_349}


@dataclass(frozen=True)
class IceServer:
    """One of them; `stun:host[:port]`, `turn:…` or `turns:…`."""

    url: str
    username: str = ""
    credential: str = ""


def ice_servers_of(links: Iterable[str]) -> tuple[IceServer, ...]:
    """What `Link` headers name; at most four."""
    found = []
    for link in links:
        for target, parameters in _LINK.findall(link):
            named = {name.lower(): quoted or bare for name, quoted, bare in _LINK_PARAMETER.findall(parameters)}
            if named.get("rel") == "ice-server" and target.startswith(("stun:", "turn:", "turns:")):
                found.append(IceServer(target, named.get("username", ""), named.get("credential", "")))
    return tuple(found[:_MAX_ICE_SERVERS])


def admitted(servers: Iterable[IceServer], policy: Policy, timeout_seconds: float) -> tuple[IceServer, ...]:
    """Those that `policy` lets us send to, at the address that was judged; the others are left out. Blocks."""
    # The gate judges hosts of URLs; this scheme is the one of a host that datagrams go to.
    policy = replace(policy, schemes=frozenset({"udp"}))
    return tuple(kept for server in servers if (kept := _admitted(server, policy, timeout_seconds)))


def _admitted(server: IceServer, policy: Policy, timeout_seconds: float) -> IceServer | None:
    named = _URL.fullmatch(server.url)
    if named is None:
        return None
    port = named["port"] or _DEFAULT_PORTS[named["scheme"]]
    try:
        guarded = check(f"udp://{named['host']}:{port}", policy, timeout_seconds=timeout_seconds)
    except MeshError:
        return None
    if named["scheme"] == "turns":  # the certificate proves it, and needs its name
        return server
    address = next((one for one in guarded.addresses if ":" not in one), None)  # all that aiortc can write
    if address is None:
        return None
    return replace(server, url=f"{named['scheme']}:{address}:{port}{named['query'] or ''}")

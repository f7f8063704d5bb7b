"""Where peers reach the gateway, as it is told to them: addresses, names that are resolved once, forwarded ports."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aioice.ice import get_host_addresses

from schemas.errors import InvalidValue

SETTING = "webrtc_hosts"
LOOPBACK = "127.0.0.1"
_RESOLVE_SECONDS = 5.0  # a resolver tries twice within that
_MAX_HOSTS = 16  # a peer tries every one
_MAX_PORT = 65_535
_FORM = re.compile(
    r"\[(?P<bracketed>[0-9A-Fa-f.]{0,4}:[0-9A-Fa-f:.]{1,40})\](?::(?P<port6>[1-9][0-9]{0,4}))?"
    r"|(?P<address>[0-9A-Fa-f.]*(?::[0-9A-Fa-f.]*){2,8})"
    r"|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}))(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.A,
)
_UDP_PREFERENCE, _TCP_PREFERENCE = 126, 90  # RFC 8445 section 5.1.2.2: of hosts; UDP before TCP (RFC 6544 section 4.2)
_PASSIVE_PREFERENCE = 4  # RFC 6544 section 4.2: direction, of a host that is connected to


@dataclass(frozen=True)
class Host:
    """One address of ours."""

    name: str
    """An IP address; a DNS name until `resolve_hosts`."""
    port: int = 0
    """The one that is forwarded to ours; 0: ours."""

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.name else socket.AF_INET


def parse_host(text: str) -> Host:
    """`192.0.2.7`, `192.0.2.7:8189`, `2001:db8::7`, `[2001:db8::7]:8189`, `edge.example`, `edge.example:8189`.

    Raises:
        InvalidValue: it is none of them, or an address that nobody can send to.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise _no_host(text)
    name = found["bracketed"] or found["address"] or found["name"]
    port = int(found["port"] or found["port6"] or 0)
    if not _is_address(name):
        if found["name"] is None or name.replace(".", "").isdecimal() or port > _MAX_PORT:
            raise _no_host(text)
        return Host(name.rstrip("."), port)
    address = ipaddress.ip_address(name)
    if address.is_unspecified or address.is_multicast or port > _MAX_PORT:
        raise _no_host(text)
    return Host(str(address), port)


def address_host(text: str) -> Host:
    """As `parse_host`; names are not taken, as they must be resolved before."""
    host = parse_host(text)
    if not _is_address(host.name):
        raise _no_host(text)
    return host


async def resolve_hosts(texts: Sequence[str]) -> tuple[Host, ...]:
    """The hosts with all addresses of their names, in their order.

    Raises:
        InvalidValue: one is malformed, or its name has no address.
    """
    found: list[Host] = []
    for text in texts:
        host = parse_host(text)
        names = (host.name,) if _is_address(host.name) else await _addresses(host.name)
        found += [replace(host, name=name) for name in names]
    return tuple(dict.fromkeys(found))[:_MAX_HOSTS]


def default_hosts() -> tuple[Host, ...]:
    """Every address of this machine that a peer could reach, then 127.0.0.1 for browsers on it."""
    return tuple(Host(address) for address in (*get_host_addresses(use_ipv4=True, use_ipv6=True), LOOPBACK))


def own_hosts() -> tuple[Host, ...]:
    """Every IPv4 address at which programs of this machine reach it. Loopback is the first, and not alone, as Firefox
    pairs it with nothing."""
    return tuple(Host(address) for address in (LOOPBACK, *get_host_addresses(use_ipv4=True, use_ipv6=False)))


def udp_candidates(hosts: Sequence[Host], port: int) -> tuple[str, ...]:
    """The value of each `a=candidate` line, most preferred first (RFC 8839 section 5.1)."""
    return tuple(
        f"{index + 1} 1 udp {_priority(_UDP_PREFERENCE, 65_535 - index)} {host.name} {host.port or port} typ host"
        for index, host in enumerate(hosts)
    )


def tcp_candidates(hosts: Sequence[Host], port: int) -> tuple[str, ...]:
    """The same for those who connect to us (RFC 6544 section 4.5)."""
    lines = []
    for index, host in enumerate(hosts):
        priority = _priority(_TCP_PREFERENCE, (_PASSIVE_PREFERENCE << 13) | (8_191 - index))
        lines.append(
            f"{index + 1}1 1 tcp {priority} {host.name} {host.port or port} typ host tcptype passive"  # unlike UDP's
        )
    return tuple(lines)


def _priority(type_preference: int, local_preference: int) -> int:
    return (type_preference << 24) | (local_preference << 8) | 255  # component 1


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _addresses(name: str) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except TimeoutError:
        raise InvalidValue(SETTING, name, f"not resolved within {_RESOLVE_SECONDS:.0f} s; give its address") from None
    except (OSError, UnicodeError) as error:
        raise InvalidValue(SETTING, name, f"not resolved ({error}); give its address") from None
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _no_host(text: str) -> InvalidValue:
    return InvalidValue(
        SETTING, text, "give addresses or names that viewers can reach: 192.168.1.10, edge.example, [2001:db8::7]:8189"
    )

"""A UDP socket where senders are waited for, or one clear error."""

import errno
import ipaddress
import socket
import struct

from schemas.errors import Conflict, Unavailable
from shared.netguard import GuardedUrl

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; beyond net.core.rmem_max, for those who may


def listen_at(guarded: GuardedUrl, *, room_bytes: int, shared: bool = False, interface: str = "") -> socket.socket:
    """A socket that does not block, bound to the address of a checked URL, in its multicast group if it is one.

    Args:
        room_bytes: what the kernel shall keep until it is read; it may give less.
        shared: others may listen at the port too; in a group they always may.
        interface: address (IPv4) or name (IPv6) of the interface that a group is joined at.

    Raises:
        Conflict: the port is in use.
        Unavailable: the address is none of this machine, or no interface reaches the group.
    """
    address = ipaddress.ip_address(guarded.addresses[0])
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    receiver = socket.socket(family, socket.SOCK_DGRAM)
    try:
        receiver.setblocking(False)
        _make_room(receiver, room_bytes)
        if shared or address.is_multicast:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Bound to the group itself, so that what is sent to the port otherwise does not get in.
        receiver.bind((str(address), guarded.port))
        if address.is_multicast:
            _join(receiver, address, interface)
    except OSError as error:
        receiver.close()
        raise _explain(error, guarded) from None
    return receiver


def _make_room(receiver: socket.socket, wanted_bytes: int) -> None:
    try:
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted_bytes)
    except PermissionError:  # what net.core.rmem_max allows, then
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)


def _join(receiver: socket.socket, group: ipaddress.IPv4Address | ipaddress.IPv6Address, interface: str) -> None:
    if group.version == 6:
        number = socket.if_nametoindex(interface) if interface else 0
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + struct.pack("@I", number))
        return
    at = ipaddress.IPv4Address(interface or "0.0.0.0").packed  # noqa: S104  # 0.0.0.0: as the routes say
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group.packed + at)


def _explain(error: OSError, guarded: GuardedUrl) -> Conflict | Unavailable:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"source {guarded.shown!r}: UDP port {guarded.port} is in use by another stream or program; "
            "use another port, or reuse=1 at both"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Unavailable(
            f"source {guarded.shown!r}: {guarded.host} is no address of this machine; "
            f"write udp://:{guarded.port} to receive at all of them, or a multicast group"
        )
    if error.errno == errno.ENODEV:
        return Unavailable(
            f"source {guarded.shown!r}: no interface to join the group at; give its address as localaddr, or a route"
        )
    return Unavailable(f"source {guarded.shown!r}: cannot be received ({error.strerror})")

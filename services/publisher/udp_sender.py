"""Datagrams to a host or a group, with nobody to say whether they arrive."""

import socket
from ipaddress import ip_address

from schemas.errors import InvalidValue
from services.publisher.transport_options import UdpOptions

# A key picture of 32 Mbit/s at once; when the buffer is full `send` waits for the wire.
_BUFFER_BYTES = 1 << 20


class UdpSender:
    """One socket. Raises OSError where the system does; never waits for a receiver."""

    def __init__(self, address: str, port: int, options: UdpOptions, shown: str, timeout_seconds: float) -> None:
        """Raises:
        InvalidValue: `localaddr` is not this machine's, or of the other kind.
        """
        target = ip_address(address)
        family = socket.AF_INET6 if target.version == 6 else socket.AF_INET
        self._target = (address, port)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(timeout_seconds)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        try:
            if options.local_address:
                self._use_interface(options.local_address, group=target.is_multicast)
            if options.ttl is not None:
                self._limit_hops(options.ttl, group=target.is_multicast)
        except OSError as error:
            self._socket.close()
            fix = f"localaddr is to be an address of this machine of the same kind ({error.strerror or error})"
            raise InvalidValue("to", shown, fix) from None

    def send(self, datagram: memoryview) -> None:
        self._socket.sendto(datagram, self._target)

    def close(self) -> None:
        self._socket.close()

    def _use_interface(self, local_address: str, *, group: bool) -> None:
        self._socket.bind((local_address, 0))
        if group and self._socket.family == socket.AF_INET:
            packed = socket.inet_aton(local_address)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, packed)

    def _limit_hops(self, ttl: int, *, group: bool) -> None:
        if self._socket.family == socket.AF_INET6:
            option = socket.IPV6_MULTICAST_HOPS if group else socket.IPV6_UNICAST_HOPS
            self._socket.setsockopt(socket.IPPROTO_IPV6, option, ttl)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL if group else socket.IP_TTL, ttl)

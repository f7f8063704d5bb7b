"""ICE over TCP for peers whose network lets no UDP out: they connect to us (RFC 6544, framed as RFC 4571 says)."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, cast

from schemas.errors import Conflict
from services.webrtc_gateway.transport.hosts import LOOPBACK, tcp_candidates
from services.webrtc_gateway.transport.ice import IcePeer, SharedIceTransport, is_stun

if TYPE_CHECKING:
    from services.webrtc_gateway.transport.datagrams import Address

logger = logging.getLogger(__name__)

FIRST_CHECK_SECONDS = 5.0  # a browser sends its check with the first round trip
MAX_UNKNOWN = 256  # connections that have not shown whose they are; then the oldest one goes
MAX_UNKNOWN_OF_HOST = 32  # of one address, so that one client cannot push out the others'
MAX_OF_SESSION = 4  # a browser has one, and for a moment another one when it connects again
MAX_FRAME_BYTES = 2048  # as of datagrams: more than any path MTU
MAX_FRAMES_PER_SECOND = 20_000  # 200 Mbit/s in packets of the usual size
_LENGTH_BYTES = 2  # RFC 4571 section 2
_READ_BYTES = 16 * 1024  # taken at once; then other callbacks get their turn
# What the kernel keeps that is not on its way yet: what is in there can be neither dropped nor overtaken.
_UNSENT_BYTES = 32 * 1024
# What waits here, besides the run of packets that found the kernel full: sound, reports, checks. More is refused.
_MAX_WAITING_BYTES = 64 * 1024
_GOODBYE_SECONDS = 2.0  # for what a connection that ends has left to send


class TcpTransport:
    """The TCP port of every session, beside the UDP port of `ice`."""

    def __init__(self, ice: SharedIceTransport) -> None:
        self.ice = ice
        self.accepted = 0
        self.closed: Counter[str] = Counter()
        """Connections that ended, by reason."""
        self.connections: set[TcpConnection] = set()
        self.unknown: dict[TcpConnection, None] = {}
        """Those that have not shown whose they are, oldest first."""
        self.port = 0
        self._servers: list[asyncio.Server] = []

    @classmethod
    async def open(cls, port: int, ice: SharedIceTransport) -> "TcpTransport":
        """Listen on `port` (0: any free one) wherever `ice` does, and tell peers so.

        Raises:
            Conflict: the port is taken.
        """
        transport = cls(ice)
        loop = asyncio.get_running_loop()
        try:
            for family, host in ice.listening:
                sock = _bound(family, host, transport.port or port)
                transport.port = sock.getsockname()[1]
                server = await loop.create_server(lambda: TcpConnection(transport), sock=sock, backlog=MAX_UNKNOWN)
                transport._servers.append(server)
        except BaseException:
            transport.close()
            raise
        only = LOOPBACK if (socket.AF_INET, LOOPBACK) in ice.listening else None
        ice.candidates += tcp_candidates([host for host in ice.hosts if only in (None, host.name)], transport.port)
        return transport

    @property
    def connection_count(self) -> int:
        """Safe to read from any thread, as the metrics do."""
        return len(self.connections)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            if connection.full:  # nobody waits for a slow peer now
                connection.end("closed")
            else:
                connection.close()

    def opened(self, connection: "TcpConnection") -> None:
        """Make room among those that nobody knows; whoever comes has a round trip's time to say who they are."""
        self.accepted += 1
        self.connections.add(connection)
        self.unknown[connection] = None
        of_host = [other for other in self.unknown if other.host == connection.host]
        if len(of_host) > MAX_UNKNOWN_OF_HOST:
            of_host[0].end("crowded")
        elif len(self.unknown) > MAX_UNKNOWN:
            next(iter(self.unknown)).end("crowded")


class TcpConnection(asyncio.BufferedProtocol):
    """One connection of one peer; where datagrams to it go while it is the peer's choice."""

    def __init__(self, transport: TcpTransport) -> None:
        self.host = ""
        """Whose it is among the unknown ones: an IPv4 address, or the network of an IPv6 one."""
        self._all = transport
        self._wire: asyncio.Transport | None = None
        self._address: Address = ("", 0)
        self._peer: IcePeer | None = None
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._filled = 0
        self._frames = 0
        self._second = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._why = ""

    # --- to the peer

    @property
    def full(self) -> bool:
        """The kernel has not taken what it was given last; or the connection has ended."""
        return bool(self._why) or (self._wire is not None and self._wire.get_write_buffer_size() > 0)

    def sendto(self, datagram: bytes | memoryview, address: "Address") -> int:
        """Send one datagram, wherever `address` is; its size.

        Raises:
            BlockingIOError: too much waits already.
        """
        if self._take(len(datagram)):
            self._write(len(datagram).to_bytes(_LENGTH_BYTES, "big") + datagram)
            return len(datagram)
        raise BlockingIOError

    def send(self, data: memoryview, size: int, address: "Address") -> int:
        """As `DatagramSender.send`: all that there are, or none."""
        if not self._take(len(data)):
            return 0
        parts: list[bytes | memoryview] = []
        for start in range(0, len(data), size):
            datagram = data[start : start + size]
            parts += (len(datagram).to_bytes(_LENGTH_BYTES, "big"), datagram)
        self._write(b"".join(parts))  # a copy: lengths come between, and the caller writes the next run over this one
        return -(-len(data) // size)

    def _take(self, size: int) -> bool:
        wire = self._wire
        return wire is None or wire.get_write_buffer_size() + size <= _MAX_WAITING_BYTES

    def _write(self, data: bytes) -> None:
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(data)

    # --- from the peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = self._wire = cast("asyncio.Transport", transport)
        name = wire.get_extra_info("peername")
        if name is None:  # gone before it was looked at
            wire.abort()
            return
        self._address = name
        self.host = _network(name[0])
        sock = wire.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._deadline = asyncio.get_running_loop().call_later(FIRST_CHECK_SECONDS, self.end, "no_check")
        self._all.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._filled :]  # never empty: what is left of a read is less than one frame

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        start = 0
        now_s = time.monotonic()
        if now_s - self._second >= 1:
            self._second, self._frames = now_s, 0
        while self._filled - start >= _LENGTH_BYTES:
            size = int.from_bytes(self._buffer[start : start + _LENGTH_BYTES], "big")
            if size > MAX_FRAME_BYTES:
                self.end("oversize")
                return
            behind = start + _LENGTH_BYTES + size
            if behind > self._filled:
                break
            self._frames += 1
            if self._frames > MAX_FRAMES_PER_SECOND:
                self.end("flood")
                return
            if size or self._peer is None:  # a frame without content means nothing, but is no check either
                self._receive(bytes(self._buffer[start + _LENGTH_BYTES : behind]))  # a copy: the buffer is used again
            if self._why:
                return
            start = behind
        left = self._filled - start
        self._buffer[:left] = self._buffer[start : self._filled]
        self._filled = left

    def eof_received(self) -> None:
        self._why = self._why or "left"

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._all.connections.discard(self)
        self._all.closed[self._why or "lost"] += 1

    def _receive(self, datagram: bytes) -> None:
        if datagram and is_stun(datagram):
            found = self._all.ice.check(self, datagram, self._address)
            if found is not None and self._is_of(found[0]):
                found[0].checked(self, self._address, nominated=found[1])
        elif self._peer is not None:
            self._peer.receive(datagram)
        if self._peer is None:
            self.end("not_a_check")

    def _is_of(self, peer: IcePeer) -> bool:
        """Whose connection it is, from the first check on."""
        if self._peer is None:
            self._peer = peer
            self._stop_waiting()
            if len(peer.connections) >= MAX_OF_SESSION:
                oldest = next(other for other in peer.connections if other is not peer.sender)
                oldest.close()
            peer.connections.append(self)
        return self._peer is peer

    # --- its end

    def end(self, why: str) -> None:
        """Drop the connection at once, with what it has left to send."""
        self._why = self._why or why
        logger.debug("connection of %s ends: %s", self.host, self._why)
        self._forget()
        if self._wire is not None:
            self._wire.abort()

    def close(self) -> None:
        """Its session has ended, or has newer ones: send what is left, for a moment."""
        self._why = self._why or "closed"
        self._forget()
        if self._wire is not None:
            self._wire.close()
            asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, self._wire.abort)

    def _forget(self) -> None:
        self._stop_waiting()
        if self._peer is not None and self in self._peer.connections:
            self._peer.connections.remove(self)
            self._peer.lost(self)

    def _stop_waiting(self) -> None:
        self._all.unknown.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _network(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))  # one client has a whole /64
    return host


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a restart, connections of before linger
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Conflict(f"TCP port {port} on {host}: {error.strerror}; free it or set another tcp_port") from error
    return sock

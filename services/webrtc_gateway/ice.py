"""One UDP port for every peer: ICE-lite, demultiplexed by user fragment, then by address (RFC 8445, RFC 7983)."""

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from aioice.ice import get_host_addresses

from schemas.errors import Conflict, InvalidValue
from services.webrtc_gateway.datagrams import Address, DatagramSender
from services.webrtc_gateway.stun import answer_binding

logger = logging.getLogger(__name__)

CONSENT_SECONDS = 30.0  # RFC 7675 section 5.1: consent expires this long after the last valid check
_MAX_DATAGRAM_BYTES = 2048  # more than any path MTU; longer datagrams are cut, fail their checks and are dropped
_DATAGRAMS_PER_WAKEUP = 64  # then other callbacks get their turn
_MAX_PATHS_PER_SESSION = 8  # a browser tries a few candidate pairs; no peer may grow our table further
_SOCKET_BUFFER_BYTES = 2 * 1024 * 1024  # several key frames at once to a few tens of viewers
_UFRAG_BYTES, _PASSWORD_BYTES = 6, 18  # 48 and 144 random bits; RFC 8445 section 5.3 asks for 24 and 128


class PacketReceiver(Protocol):
    """What a session does with what its peer sends."""

    def receive_dtls(self, datagram: bytes) -> None: ...

    def receive_srtp(self, datagram: bytes) -> None: ...

    def path_selected(self) -> None:
        """A peer address is known for the first time; datagrams can be sent."""
        ...


class IcePeer:
    """The ICE side of one session: our credentials, and where its peer is."""

    def __init__(self, receiver: PacketReceiver) -> None:
        self.ufrag = secrets.token_urlsafe(_UFRAG_BYTES).replace("-", "+").replace("_", "/")
        self.password = secrets.token_urlsafe(_PASSWORD_BYTES).replace("-", "+").replace("_", "/")
        self.receiver = receiver
        self.socket: socket.socket | None = None
        self.address: Address | None = None
        """Where to send; None until the first authenticated check."""
        self.checked_at = time.monotonic()
        """When the last valid binding request came, in monotonic seconds."""
        self.paths: dict[Address, None] = {}
        """Every address that has authenticated itself, oldest first."""

    def consent_expired(self, now: float) -> bool:
        return now - self.checked_at > CONSENT_SECONDS


class SharedIceTransport:
    """The UDP sockets (IPv4, and IPv6 where there is any) that every session shares."""

    def __init__(self, sockets: Sequence[socket.socket], hosts: Sequence[str], *, segments: bool = True) -> None:
        """`segments`: let the kernel cut large sends into datagrams where it can (UDP GSO)."""
        self._sockets = tuple(sockets)
        self._senders = {sock: DatagramSender(sock, segments=segments) for sock in self._sockets}
        self._hosts = tuple(hosts)
        self._by_ufrag: dict[str, IcePeer] = {}
        self._by_path: dict[Address, IcePeer] = {}
        self._buffer = bytearray(_MAX_DATAGRAM_BYTES)
        self.port: int = self._sockets[0].getsockname()[1]
        self.datagrams_sent = 0
        self.bytes_sent = 0
        self.dropped_send_full = 0
        """Datagrams that the full socket buffer refused."""
        self.dropped_send_error = 0
        self.dropped_unknown = 0
        """Datagrams from addresses that have not authenticated themselves, and STUN that did not."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock, self._readable, sock)

    @classmethod
    def open(
        cls, port: int, hosts: Sequence[str] = (), bind: str = "", *, segments: bool = True
    ) -> "SharedIceTransport":
        """Bind `port` (0: any free one) on `bind`, or on every IPv4 and IPv6 address when that is empty.

        `hosts` are the addresses told to peers; empty: those of this machine.

        Raises:
            InvalidValue: a host is not an IP address.
            Conflict: the port is taken.
        """
        hosts = tuple(hosts) or default_hosts()
        for host in hosts:
            _family_of(host)
        if bind:
            sockets = [_bound(_family_of(bind), bind, port)]
        else:
            sockets = [_bound(socket.AF_INET, "0.0.0.0", port)]  # noqa: S104 - browsers reach us from anywhere
            if socket.has_ipv6 and any(_family_of(host) == socket.AF_INET6 for host in hosts):
                try:
                    sockets.append(_bound(socket.AF_INET6, "::", sockets[0].getsockname()[1]))
                except (Conflict, OSError) as error:
                    logger.warning("no IPv6 candidates: %s", error)
        families = {sock.family for sock in sockets}
        return cls(sockets, [host for host in hosts if _family_of(host) in families], segments=segments)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The value of each `a=candidate` line, most preferred first (RFC 8839 section 5.1)."""
        lines = []
        for index, host in enumerate(self._hosts):
            priority = (126 << 24) | ((65535 - index) << 8) | 255  # host type, then our order, component 1
            lines.append(f"{index + 1} 1 udp {priority} {host} {self.port} typ host")
        return tuple(lines)

    def add(self, peer: IcePeer) -> None:
        self._by_ufrag[peer.ufrag] = peer

    def remove(self, peer: IcePeer) -> None:
        """Forget the peer; what it still sends counts as unknown."""
        self._by_ufrag.pop(peer.ufrag, None)
        for address in peer.paths:
            if self._by_path.get(address) is peer:
                del self._by_path[address]
        peer.paths.clear()

    def send(self, peer: IcePeer, batch: Sequence[bytes | memoryview]) -> int:
        """Send datagrams to the peer; how many were taken. Fewer than given: the socket is full."""
        sock, address = peer.socket, peer.address
        if sock is None or address is None:
            return 0
        sendto = sock.sendto
        taken = size = 0
        try:
            for datagram in batch:
                size += sendto(datagram, address)
                taken += 1
        except (BlockingIOError, InterruptedError):
            self.dropped_send_full += len(batch) - taken
        except OSError as error:
            # Unreachable peers and the like: consent ends the session if it lasts.
            self.dropped_send_error += 1
            logger.debug("send to %s: %s", address, error)
            taken = len(batch)
        self.datagrams_sent += taken
        self.bytes_sent += size
        return taken

    def send_run(self, peer: IcePeer, datagrams: memoryview, size: int) -> int:
        """Send datagrams of `size` bytes, the last with what is left, that lie one behind the other; how many were
        taken, as `send`."""
        sock, address = peer.socket, peer.address
        if sock is None or address is None:
            return 0
        count = -(-len(datagrams) // size)
        try:
            taken = self._senders[sock].send(datagrams, size, address)
        except OSError as error:
            self.dropped_send_error += 1
            logger.debug("send to %s: %s", address, error)
            taken = count
        if taken < count:
            self.dropped_send_full += count - taken
        self.datagrams_sent += taken
        self.bytes_sent += min(taken * size, len(datagrams))
        return taken

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock)
            sock.close()
        self._by_ufrag.clear()
        self._by_path.clear()

    def _readable(self, sock: socket.socket) -> None:
        buffer = self._buffer
        for _ in range(_DATAGRAMS_PER_WAKEUP):
            try:
                size, address = sock.recvfrom_into(buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # an ICMP error of an earlier send surfaces here
                logger.debug("receive: %s", error)
                continue
            if size:
                self._dispatch(sock, bytes(memoryview(buffer)[:size]), address)

    def _dispatch(self, sock: socket.socket, datagram: bytes, address: Address) -> None:
        first = datagram[0]  # RFC 7983 section 7
        if first < 4:
            self._check(sock, datagram, address)
            return
        peer = self._by_path.get(address)
        if peer is None:
            self.dropped_unknown += 1
        elif 20 <= first <= 63:
            peer.receiver.receive_dtls(datagram)
        elif 128 <= first <= 191:
            peer.receiver.receive_srtp(datagram)

    def _check(self, sock: socket.socket, datagram: bytes, address: Address) -> None:
        answer = answer_binding(datagram, (address[0], address[1]), self._password_of)
        if answer is None:
            self.dropped_unknown += 1
            return
        try:
            sock.sendto(answer.reply, address)
        except OSError as error:
            logger.debug("answer to %s: %s", address, error)
        if answer.role_conflict:
            return
        peer = self._by_ufrag[answer.ufrag]
        peer.checked_at = time.monotonic()
        self._learn(peer, address)
        if peer.address is None:
            peer.socket, peer.address = sock, address
            peer.receiver.path_selected()
        elif answer.use_candidate and address != peer.address:
            peer.socket, peer.address = sock, address

    def _learn(self, peer: IcePeer, address: Address) -> None:
        if address in peer.paths and self._by_path.get(address) is peer:
            return
        if len(peer.paths) >= _MAX_PATHS_PER_SESSION:
            oldest = next(known for known in peer.paths if known != peer.address)
            del peer.paths[oldest]
            if self._by_path.get(oldest) is peer:
                del self._by_path[oldest]
        peer.paths[address] = None
        self._by_path[address] = peer

    def _password_of(self, ufrag: str) -> str | None:
        peer = self._by_ufrag.get(ufrag)
        return peer.password if peer else None


def default_hosts() -> tuple[str, ...]:
    """Every address of this machine that a peer could reach, then 127.0.0.1 for browsers on it."""
    return (*get_host_addresses(use_ipv4=True, use_ipv6=True), "127.0.0.1")


def _family_of(host: str) -> socket.AddressFamily:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return family
    raise InvalidValue("webrtc_hosts", host, "use IP addresses that viewers can reach, for example 192.168.1.10")


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Conflict(f"UDP port {port} on {host}: {error.strerror}; free it or set another webrtc port") from error
    return sock

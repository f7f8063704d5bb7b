"""One UDP port for every peer: ICE-lite, demultiplexed by user fragment, then by address (RFC 8445, RFC 7983)."""

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from schemas.errors import Conflict, InvalidValue
from services.webrtc_gateway.transport.datagrams import Address, DatagramSender
from services.webrtc_gateway.transport.hosts import (
    LOOPBACK,
    SETTING,
    Host,
    address_host,
    default_hosts,
    own_hosts,
    udp_candidates,
)
from services.webrtc_gateway.transport.stun import answer_binding

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


class PacketSender(Protocol):
    """A way for datagrams to peers: a UDP socket, or one peer's TCP connection."""

    @property
    def full(self) -> bool:
        """Whether it would take no more now, as the peer's line is slow or the connection has ended."""
        ...

    def sendto(self, datagram: bytes | memoryview, address: Address) -> int: ...

    def send(self, data: memoryview, size: int, address: Address) -> int: ...


class Connection(PacketSender, Protocol):
    """What belongs to one peer alone and ends with it."""

    def close(self) -> None: ...


class IcePeer:
    """The ICE side of one session: our credentials, and where its peer is."""

    def __init__(self, receiver: PacketReceiver) -> None:
        self.ufrag = secrets.token_urlsafe(_UFRAG_BYTES).replace("-", "+").replace("_", "/")
        self.password = secrets.token_urlsafe(_PASSWORD_BYTES).replace("-", "+").replace("_", "/")
        self.receiver = receiver
        self.sender: PacketSender | None = None
        self.address: Address | None = None
        """Where to send; None until the first authenticated check."""
        self.checked_at = time.monotonic()
        """When the last valid binding request came, in monotonic seconds."""
        self.paths: dict[Address, None] = {}
        """Every UDP address that has authenticated itself, oldest first."""
        self.connections: list[Connection] = []
        """Likewise those that connect to us."""

    @property
    def full(self) -> bool:
        """Whether it is of no use to make something ready now: the way to the peer is slow, or was lost."""
        return self.sender is not None and self.sender.full

    def checked(self, sender: PacketSender, address: Address, *, nominated: bool) -> None:
        """A valid check came this way: use it if it is the first one, or the one that the peer has chosen."""
        self.checked_at = time.monotonic()
        if self.address is None:
            self.sender, self.address = sender, address
            self.receiver.path_selected()
        elif nominated:
            self.sender, self.address = sender, address

    def lost(self, sender: PacketSender) -> None:
        """That way is no more; the next one that is checked takes its place."""
        if self.sender is sender:
            self.address = None

    def receive(self, datagram: bytes) -> None:
        """Take what came on a way that was checked, other than STUN (RFC 7983 section 7)."""
        first = datagram[0]
        if 20 <= first <= 63:
            self.receiver.receive_dtls(datagram)
        elif 128 <= first <= 191:
            self.receiver.receive_srtp(datagram)

    def consent_expired(self, now: float) -> bool:
        return now - self.checked_at > CONSENT_SECONDS


class SharedIceTransport:
    """The UDP sockets (IPv4, and IPv6 where there is any) that every session shares."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        hosts: Sequence[Host],
        *,
        segments: bool = True,
        heard: frozenset[str] | None = None,
    ) -> None:
        """`segments`: let the kernel cut large sends into datagrams where it can (UDP GSO). `heard`: the addresses
        that are answered, None: all."""
        self._sockets = tuple(sockets)
        self._senders = {sock: DatagramSender(sock, segments=segments) for sock in self._sockets}
        self.hosts = tuple(hosts)
        self._heard = heard
        self._by_ufrag: dict[str, IcePeer] = {}
        self._by_path: dict[Address, IcePeer] = {}
        self._buffer = bytearray(_MAX_DATAGRAM_BYTES)
        self.port: int = self._sockets[0].getsockname()[1]
        self.candidates = udp_candidates(self.hosts, self.port)
        """The value of each `a=candidate` line; others of this process add theirs."""
        self.bytes_sent = 0
        self.dropped_send_full = 0
        """Datagrams that the full socket buffer refused."""
        self.dropped_send_error = 0
        """Datagrams that had no way to their peer."""
        self.dropped_unknown = 0
        """Datagrams from addresses that have not authenticated themselves, and STUN that did not."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock, self._readable, sock)

    @classmethod
    def open(
        cls, port: int, hosts: Sequence[Host | str] = (), bind: str = "", *, segments: bool = True
    ) -> "SharedIceTransport":
        """Bind `port` (0: any free one) on `bind`, or on every IPv4 and IPv6 address when that is empty.

        `hosts` are the addresses told to peers, resolved; empty: those of this machine. With `bind` 127.0.0.1 peers
        are this machine's own programs, whichever of its addresses they take; no others are heard.

        Raises:
            InvalidValue: a host is no address, or peers can come to none of them, as we do not listen there.
            Conflict: the port is taken.
        """
        told = tuple(address_host(host) if isinstance(host, str) else host for host in hosts)
        heard = None
        if bind == LOOPBACK and not told:
            told = own_hosts()
            heard = frozenset(host.name for host in told)
            sockets = [_bound(socket.AF_INET, "0.0.0.0", port)]  # noqa: S104 - those of other machines are not heard
        elif bind:
            told = told or (Host(bind),)
            sockets = [_bound(Host(bind).family, bind, port)]
        else:
            told = told or default_hosts()
            sockets = [_bound(socket.AF_INET, "0.0.0.0", port)]  # noqa: S104 - browsers reach us from anywhere
            if socket.has_ipv6 and any(host.family == socket.AF_INET6 for host in told):
                try:
                    sockets.append(_bound(socket.AF_INET6, "::", sockets[0].getsockname()[1]))
                except (Conflict, OSError) as error:
                    logger.warning("no IPv6 candidates: %s", error)
        families = {sock.family for sock in sockets}
        reachable = [host for host in told if host.family in families]
        if not reachable:
            for sock in sockets:
                sock.close()
            raise InvalidValue(
                SETTING, ",".join(host.name for host in told), f"none is of the family of bind ({bind or 'IPv4'})"
            )
        return cls(sockets, reachable, segments=segments, heard=heard)

    @property
    def listening(self) -> tuple[tuple[socket.AddressFamily, str], ...]:
        """Family and address of each socket; of one for this machine's own programs, loopback."""
        if self._heard is not None:
            return ((socket.AF_INET, LOOPBACK),)
        return tuple((sock.family, sock.getsockname()[0]) for sock in self._sockets)

    def add(self, peer: IcePeer) -> None:
        self._by_ufrag[peer.ufrag] = peer

    def remove(self, peer: IcePeer) -> None:
        """Forget the peer; what it still sends counts as unknown."""
        self._by_ufrag.pop(peer.ufrag, None)
        for address in peer.paths:
            if self._by_path.get(address) is peer:
                del self._by_path[address]
        peer.paths.clear()
        for connection in tuple(peer.connections):
            connection.close()

    def send(self, peer: IcePeer, batch: Sequence[bytes | memoryview]) -> int:
        """Send datagrams to the peer; how many were taken. Fewer than given: the socket is full."""
        sender, address = peer.sender, peer.address
        if sender is None or address is None:
            return 0
        sendto = sender.sendto
        taken = size = 0
        try:
            for datagram in batch:
                size += sendto(datagram, address)
                taken += 1
        except (BlockingIOError, InterruptedError):
            self.dropped_send_full += len(batch) - taken
        except OSError as error:
            # Unreachable peers and the like: consent ends the session if it lasts.
            self.dropped_send_error += len(batch) - taken
            logger.debug("send to %s: %s", address, error)
            taken = len(batch)
        self.bytes_sent += size
        return taken

    def send_run(self, peer: IcePeer, datagrams: memoryview, size: int) -> int:
        """Send datagrams of `size` bytes, the last with what is left, that lie one behind the other; how many were
        taken, as `send`."""
        sender, address = peer.sender, peer.address
        if sender is None or address is None:
            return 0
        count = -(-len(datagrams) // size)
        try:
            taken = sender.send(datagrams, size, address)
        except OSError as error:
            self.dropped_send_error += count
            logger.debug("send to %s: %s", address, error)
            taken = count
        if taken < count:
            self.dropped_send_full += count - taken
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
        if is_stun(datagram):
            sender = self._senders[sock]
            found = self.check(sender, datagram, address)
            if found is not None:
                peer, nominated = found
                self._learn(peer, address)
                peer.checked(sender, address, nominated=nominated)
            return
        known = self._by_path.get(address)
        if known is None:
            self.dropped_unknown += 1
        else:
            known.receive(datagram)

    def check(self, sender: PacketSender, datagram: bytes, address: Address) -> tuple[IcePeer, bool] | None:
        """Answer what should be a connectivity check, the way that it came: whose it is, and whether it nominates.

        None: nobody's, or the peer has to send another one.
        """
        heard = self._heard is None or address[0] in self._heard
        answer = answer_binding(datagram, (address[0], address[1]), self._password_of) if heard else None
        if answer is None:
            self.dropped_unknown += 1
            return None
        try:
            sender.sendto(answer.reply, address)
        except OSError as error:
            logger.debug("answer to %s: %s", address, error)
        return None if answer.role_conflict else (self._by_ufrag[answer.ufrag], answer.use_candidate)

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


def is_stun(datagram: bytes) -> bool:
    """RFC 7983 section 7."""
    return datagram[0] < 4


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

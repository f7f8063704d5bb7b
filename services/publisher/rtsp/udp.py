"""The two UDP ports of the server: RTP leaves from the even one, RTCP from the next (RFC 3550 section 11)."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from struct import Struct

from schemas.errors import Conflict, Unavailable
from services.publisher.rtsp.units import RtpUnit
from shared.rtp.reports import is_rtcp

log = logging.getLogger(__name__)

Address = tuple[str, int]

_UDP_SEGMENT = 103  # linux/udp.h: the size of the packets that one send is cut into
_SEGMENT_BYTES = Struct("=H")
# What kernels and drivers say that cannot cut; packets go one by one then.
_CANNOT_CUT = frozenset({errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})
_SEND_BUFFER_BYTES = 4 << 20  # a key picture to each of many clients at once
_MAX_DATAGRAM_BYTES = 2_048  # RTCP is smaller
_DATAGRAMS_PER_WAKEUP = 64
_PAIR_TRIES = 100


class UdpPorts:
    """Sends to any number of clients; what they send back keeps them alive."""

    def __init__(self, rtp: socket.socket, rtcp: socket.socket) -> None:
        self._rtp, self._rtcp = rtp, rtcp
        self.ports: tuple[int, int] = (rtp.getsockname()[1], rtcp.getsockname()[1])
        self._heard: dict[Address, Callable[[], None]] = {}
        self._cuts = True
        loop = asyncio.get_running_loop()
        for sock in (rtp, rtcp):
            loop.add_reader(sock, self._readable, sock)

    @classmethod
    def open(cls, bind: str, port: int) -> "UdpPorts":
        """Bind `port` (even) and the next; 0: any free pair.

        Raises:
            Conflict: they are taken.
            Unavailable: no pair is free.
        """
        for rtp in _even_sockets(bind, port):
            number = rtp.getsockname()[1]
            try:
                return cls(rtp, _bound(bind, number + 1))
            except OSError as error:
                rtp.close()
                if port:
                    raise Conflict(f"RTSP UDP port {number + 1} on {bind}: {error.strerror}") from None
        raise Unavailable(f"no free pair of UDP ports on {bind}")

    def listen(self, address: Address, heard: Callable[[], None]) -> bool:
        """Call `heard` at RTCP from this address; False when the address is another session's."""
        if address in self._heard:
            return False
        self._heard[address] = heard
        return True

    def forget(self, address: Address) -> None:
        self._heard.pop(address, None)

    def send(self, unit: RtpUnit, address: Address) -> int:
        """Send a unit's packets; how many were taken. Fewer than there are: the socket is full, or nobody is there."""
        if not self._cuts:
            return self._send_each(unit.packets, address)
        sent = 0
        try:
            for data, size in unit.runs:
                if len(data) == size:
                    self._rtp.sendto(data, address)
                else:
                    ancillary = [(socket.SOL_UDP, _UDP_SEGMENT, _SEGMENT_BYTES.pack(size))]
                    self._rtp.sendmsg([data], ancillary, 0, address)
                sent += -(-len(data) // size)
        except (BlockingIOError, InterruptedError):
            return sent
        except OSError as error:
            if error.errno not in _CANNOT_CUT:
                log.debug("send to %s: %s", address, error)
                return sent
            self._cuts = False
            log.info("UDP packets are sent one by one: %s", error.strerror)
            return sent + self._send_each(unit.packets[sent:], address)
        return sent

    def send_rtcp(self, packet: bytes, address: Address) -> None:
        try:
            self._rtcp.sendto(packet, address)
        except OSError as error:  # the next report may get through
            log.debug("RTCP to %s: %s", address, error)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in (self._rtp, self._rtcp):
            loop.remove_reader(sock)
            sock.close()

    def _send_each(self, packets: Sequence[bytes], address: Address) -> int:
        sendto = self._rtp.sendto
        sent = 0
        try:
            for packet in packets:
                sendto(packet, address)
                sent += 1
        except OSError as error:
            log.debug("send to %s: %s", address, error)
        return sent

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(_DATAGRAMS_PER_WAKEUP):
            try:
                datagram, address = sock.recvfrom(_MAX_DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # an ICMP error of an earlier send surfaces here
                log.debug("receive: %s", error)
                continue
            heard = self._heard.get(address[:2])
            if heard is not None and is_rtcp(datagram):
                heard()


def _even_sockets(bind: str, port: int) -> Iterator[socket.socket]:
    """Sockets at an even port: the one, or some that are free."""
    for _ in range(1 if port else _PAIR_TRIES):
        try:
            sock = _bound(bind, port)
        except OSError as error:
            raise Conflict(f"RTSP UDP port {port} on {bind}: {error.strerror}") from None
        if sock.getsockname()[1] % 2 == 0:
            yield sock
        else:
            sock.close()


def _bound(bind: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sock.bind((bind, port))
    except OSError:
        sock.close()
        raise
    return sock

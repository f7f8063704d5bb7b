"""Many datagrams to one address with as few calls as the kernel allows: cut by it, listed to it, or one by one."""

import ctypes
import errno
import functools
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

Address = tuple[Any, ...]  # as the socket module gives it: 2 fields for IPv4, 4 for IPv6

MAX_RUN_DATAGRAMS = 32  # of one call; at 1200 bytes far below the 65,507 bytes and 64 segments that kernels take
_UDP_SEGMENT = 103  # linux/udp.h; Python has no name for it
_CANNOT_CUT = frozenset({errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT})  # what drivers say that cannot
_KNOWN_ADDRESSES = 4096  # more than there are sessions


class DatagramSender:
    """Sends through one socket, the fastest way that it takes."""

    def __init__(self, sock: socket.socket, *, segments: bool = True) -> None:
        """`segments`: let the kernel cut one large send into datagrams (UDP GSO) until it refuses."""
        self._sock = sock
        self._segments = segments
        self._uncut: set[Address] = set()
        """Where nothing is cut: paths whose MTU is smaller than a datagram; on old kernels, all of them."""
        self._list: DatagramList | None = DatagramList.of(sock)

    @property
    def full(self) -> bool:
        """Never for long: what the kernel has taken leaves at the network's pace, whoever receives it."""
        return False

    def sendto(self, datagram: bytes | memoryview, address: Address) -> int:
        """Send one datagram; its size.

        Raises:
            OSError: BlockingIOError when the socket is full, others as of `send`.
        """
        return self._sock.sendto(datagram, address)

    def send(self, data: memoryview, size: int, address: Address) -> int:
        """Send `data` as datagrams of `size` bytes, the last with what is left; how many were taken.

        At most MAX_RUN_DATAGRAMS. Fewer taken than there are: the socket is full.

        Raises:
            OSError: the address cannot be reached; any of them may have been sent.
        """
        count = -(-len(data) // size)
        try:
            if count > 1 and self._segments and address not in self._uncut and self._send_cut(data, size, address):
                return count
            if count > 1 and self._list is not None:
                return self._send_list(data, size, address)
        except (BlockingIOError, InterruptedError):
            return 0
        return self._send_each(data, size, address)

    def _send_cut(self, data: memoryview, size: int, address: Address) -> bool:
        try:
            self._sock.sendmsg((data,), _ancillary(size), 0, address)
        except OSError as error:
            if error.errno in _CANNOT_CUT:
                self._segments = False
                logger.info("datagrams are not cut by the kernel: %s", error.strerror)
            elif error.errno == errno.EINVAL:
                if len(self._uncut) >= _KNOWN_ADDRESSES:
                    self._uncut.clear()
                self._uncut.add(address)
            else:
                raise
            return False
        return True

    def _send_list(self, data: memoryview, size: int, address: Address) -> int:
        assert self._list is not None
        try:
            return self._list.send(data, size, address)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            self._list = None
            logger.info("datagrams are sent one by one: there is no sendmmsg")
            return self._send_each(data, size, address)

    def _send_each(self, data: memoryview, size: int, address: Address) -> int:
        sendto = self._sock.sendto
        taken = 0
        try:
            for at in range(0, len(data), size):
                sendto(data[at : at + size], address)
                taken += 1
        except (BlockingIOError, InterruptedError):
            pass
        return taken


class _Vector(ctypes.Structure):  # struct iovec; pointers as numbers, so that an array fills them
    _fields_ = (("base", ctypes.c_size_t), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):  # struct msghdr
    _fields_ = (
        ("name", ctypes.c_size_t),
        ("name_size", ctypes.c_uint32),
        ("vector", ctypes.c_size_t),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_size_t),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


class DatagramList:
    """sendmmsg(2) with structures that are made once and filled without a loop."""

    def __init__(self, sock: socket.socket, sendmmsg: Callable[..., int]) -> None:
        self._sock = sock
        self._sendmmsg = sendmmsg
        vectors = np.zeros(MAX_RUN_DATAGRAMS, np.dtype(_Vector))
        messages = np.zeros(MAX_RUN_DATAGRAMS, np.dtype(_Message))
        numbers = np.arange(MAX_RUN_DATAGRAMS, dtype=np.uintp)
        messages["header"]["vector"] = vectors.ctypes.data + numbers * vectors.itemsize
        messages["header"]["vectors"] = 1
        self._bases, self._sizes = vectors["base"], vectors["size"]
        self._names, self._name_sizes = messages["header"]["name"], messages["header"]["name_size"]
        self._messages = ctypes.c_void_p(messages.ctypes.data)  # the views above keep it
        self._numbers = numbers

    @classmethod
    def of(cls, sock: socket.socket) -> "DatagramList | None":
        """None where the C library has no sendmmsg."""
        # Nothing here waits, so the interpreter's lock is kept: giving it up would cost more than the call.
        library = ctypes.PyDLL(None, use_errno=True)
        try:
            return cls(sock, library.sendmmsg)
        except AttributeError:
            return None

    def send(self, data: memoryview, size: int, address: Address) -> int:
        """As `DatagramSender.send`.

        Raises:
            OSError: BlockingIOError when the socket is full before the first one.
        """
        count = -(-len(data) // size)
        name = _socket_address(address)
        first = ctypes.c_char.from_buffer(data)
        self._bases[:count] = ctypes.addressof(first) + self._numbers[:count] * size
        self._sizes[:count] = size
        self._sizes[count - 1] = len(data) - (count - 1) * size
        self._names[:count] = ctypes.addressof(name)
        self._name_sizes[:count] = len(name)
        taken = self._sendmmsg(self._sock.fileno(), self._messages, count, socket.MSG_DONTWAIT)
        if taken < 0:
            number = ctypes.get_errno()
            raise OSError(number, errno.errorcode.get(number, "unknown error"))
        return taken


@functools.lru_cache(_KNOWN_ADDRESSES)
def _socket_address(address: Address) -> "ctypes.Array[ctypes.c_char]":
    """struct sockaddr_in or sockaddr_in6; the cache keeps what the kernel is pointed to."""
    if len(address) == 2:
        data = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", address[1], socket.inet_aton(address[0]))
    else:
        host, port, flow, scope = address
        raw = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        data = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16s", port, flow, raw) + struct.pack("=I", scope)
    return ctypes.create_string_buffer(data, len(data))


@functools.lru_cache(1 << 11)  # as many as there are sizes of packets
def _ancillary(size: int) -> tuple[tuple[int, int, bytes], ...]:
    return ((socket.SOL_UDP, _UDP_SEGMENT, struct.pack("=H", size)),)

"""Lines that machines send over TCP: each is a reading, with the kernel's instant of its last bytes."""

import asyncio
import errno
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Final

from schemas.signal_resources import InputSpec
from services.io_signal.hand.drivers.base import DeviceError, Limits, Reading
from services.io_signal.hand.drivers.tcp_line_client import LINES_PER_SECOND, SO_TIMESTAMPNS, LineClient
from services.io_signal.signals.addresses import TcpAddress, input_address

log = logging.getLogger(__name__)

_MOST_CLIENTS: Final = 16  # machines that tell of one thing
_BACKLOG: Final = 16
_WITHOUT_DESCRIPTORS_SECONDS: Final = 1.0  # until a client is looked for again where the process has no more of them
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
# Seconds, seconds, times: a machine that was switched off frees its place within half a minute.
_LINGER_NOW: Final = struct.pack("ii", 1, 0)


class TcpInput:
    """A server of lines; see `drivers.base.InputDriver`."""

    def __init__(self, spec: InputSpec, limits: Limits) -> None:
        """Raises:
        InvalidValue: `address` is none of tcp.
        """
        address = input_address("tcp", spec.address)
        assert isinstance(address, TcpAddress)
        self._at, self._limits = address, limits
        self.address = ""
        """Where it listens, once it is open."""
        self.left_out: Counter[str] = Counter()
        """`refused` clients, lines `too-long` or `unfinished`."""
        self._listener: socket.socket | None = None
        self._clients: set[LineClient] = set()
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        host, port = self._at.host, self._at.port
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, where = found[0]
            listener = self._listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Its clients' connections have it from the first byte on, which may be here before they are accepted.
            listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError as error:
            fix = "; choose another port" if error.errno == errno.EADDRINUSE else ""
            raise DeviceError(f"cannot listen at tcp://{self._at}: {error.strerror or error}{fix}") from None
        self.address = f"tcp://{TcpAddress(host, listener.getsockname()[1])}"

    async def run(self, take: Callable[[Reading], None]) -> None:
        listener = self._listener
        assert listener is not None  # open() has made it
        self._loop.add_reader(listener.fileno(), self._accept, listener, take)
        await asyncio.Event().wait()  # until cancelled

    def _accept(self, listener: socket.socket, take: Callable[[Reading], None]) -> None:
        try:
            client, peer = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):  # it has gone again
            return
        except OSError as error:
            log.warning("tcp://%s: no more clients for now: %s", self._at, error.strerror)
            self._loop.remove_reader(listener.fileno())
            self._loop.call_later(_WITHOUT_DESCRIPTORS_SECONDS, self._accept_again, listener, take)
            return
        address = str(peer[0]).partition("%")[0].removeprefix("::ffff:")
        if len(self._clients) >= _MOST_CLIENTS or not self._limits.allows(address, address):
            self.left_out["refused"] += 1
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOW)
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            client.setsockopt(socket.IPPROTO_TCP, option, value)
        self._clients.add(LineClient(self._loop, client, take, self.left_out, self._share, self._clients.discard))

    def _share(self) -> float:
        return LINES_PER_SECOND / max(1, len(self._clients))

    def _accept_again(self, listener: socket.socket, take: Callable[[Reading], None]) -> None:
        if listener is self._listener:
            self._loop.add_reader(listener.fileno(), self._accept, listener, take)

    async def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        for client in tuple(self._clients):
            client.close()

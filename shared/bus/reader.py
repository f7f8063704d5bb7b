"""What the server sends, taken apart before nats-py sees it: subscriptions get their messages in the very read.

nats-py hands each message on through a stream, a parser, a queue and a task: two more turns of the event loop and
three copies of each picture. What returns at once needs none of that; the rest is passed on unread.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

Receive = Callable[[str, bytes], None]
"""Subject and data of one message; returns at once and never raises."""

_END = b"\r\n"
_MAX_LINE_BYTES = 64 * 1024  # the INFO of a large cluster is a few KiB; what is longer is nats-py's to judge
_WITHOUT_REPLY, _WITH_REPLY = 4, 5  # fields of MSG; those of HMSG are one more, the size of the headers


class MessageReader:
    """Cuts what one connection brings into operations of the protocol, and takes some of the messages."""

    def __init__(self, receivers: Mapping[bytes, Receive], pass_on: Callable[[bytes], None]) -> None:
        """`receivers` by the number of their subscription, as the server writes it; `pass_on` takes all the rest."""
        self._receivers, self._pass_on = receivers, pass_on
        self._begun: list[bytes] = []
        """Of an operation that is not here as a whole."""
        self._begun_bytes = 0
        self._needed_bytes = 0
        """How large that operation is, as far as it is known."""
        self._unreadable = False

    def feed(self, data: bytes) -> None:
        """Take what came."""
        if self._unreadable:
            self._pass_on(data)
            return
        if self._begun:
            self._begun.append(data)
            self._begun_bytes += len(data)
            if self._begun_bytes < self._needed_bytes:
                return
            data = b"".join(self._begun)
            self._begun.clear()
        at = others = 0  # from `others` to `at` is what others are given
        while at < len(data):
            try:
                stop = self._take(data, at)
            except (ValueError, IndexError):  # no server says that: nats-py gives the connection up
                self._unreadable = True
                self._pass_on(data[others:])
                return
            if stop > len(data):
                self._begun, self._begun_bytes, self._needed_bytes = [data[at:]], len(data) - at, stop - at
                break
            if stop < 0:  # it was taken
                if others < at:
                    self._pass_on(data[others:at])
                stop = others = -stop
            at = stop
        if others < at:
            self._pass_on(data[others:at])

    def _take(self, data: bytes, at: int) -> int:
        """Where the operation that begins at `at` stops, negative when its message went to its receiver.

        Beyond the data: it is not complete, and has so many bytes at least. Raises ValueError, IndexError.
        """
        line_end = data.find(_END, at)
        if line_end < 0:
            if len(data) - at > _MAX_LINE_BYTES:
                raise ValueError("a line without an end")
            return len(data) + 1
        begin = line_end + len(_END)
        headers = data.startswith(b"HMSG ", at)
        if not headers and not data.startswith(b"MSG ", at):
            return begin
        fields = data[at:line_end].split()
        if not _WITHOUT_REPLY <= len(fields) - headers <= _WITH_REPLY:
            raise ValueError("a message of no known form")
        payload = begin + int(fields[-2]) if headers else begin
        end = begin + int(fields[-1])
        if not begin <= payload <= end:
            raise ValueError("a message of no possible size")
        stop = end + len(_END)
        if stop > len(data):
            return stop
        receive = self._receivers.get(fields[2])
        if receive is None:
            return stop
        receive(fields[1].decode(errors="replace"), data[payload:end])
        return -stop


class _Protocol(asyncio.StreamReaderProtocol):
    def __init__(self, stream: asyncio.StreamReader, receivers: Mapping[bytes, Receive]) -> None:
        super().__init__(stream)
        self._messages = MessageReader(receivers, super().data_received)

    def data_received(self, data: bytes) -> None:
        self._messages.feed(data)


class ReadingTransport(TcpTransport):
    """nats-py's way to a server over TCP, and over TLS within, with a reader of our own before its streams."""

    def __init__(self, receivers: Mapping[bytes, Receive]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._receivers = receivers
        self._plain: _Protocol | None = None

    def __bool__(self) -> bool:
        return True  # before it is connected too: nats-py would take one of its own instead

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """As of nats-py; raises OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader(limit=buffer_size)
        protocol = _Protocol(stream, self._receivers)
        async with asyncio.timeout(connect_timeout):
            transport, _ = await loop.create_connection(lambda: protocol, uri.hostname or "", uri.port or 0)
        self._plain = protocol
        self._bare_io_reader = self._io_reader = stream
        self._bare_io_writer = self._io_writer = asyncio.StreamWriter(transport, protocol, stream, loop)

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """As of nats-py; raises OSError, ssl.SSLError, TimeoutError."""
        loop = asyncio.get_running_loop()
        assert self._io_writer is not None, "connected first"
        stream = asyncio.StreamReader(limit=buffer_size)
        protocol = _Protocol(stream, self._receivers)
        name = uri if isinstance(uri, str) else uri.hostname or ""
        try:
            async with asyncio.timeout(connect_timeout):
                transport = await loop.start_tls(self._io_writer.transport, protocol, ssl_context, server_hostname=name)
        except BaseException:
            # Nobody else tells the first protocol, for whose end nats-py would wait without one.
            self._io_writer.transport.abort()
            if self._plain is not None:
                self._plain.connection_lost(None)
            raise
        assert transport is not None, "the handshake is done"
        # What asyncio leaves to us here; without it nothing would hold back a server that sends more than is read.
        protocol.connection_made(transport)
        self._io_reader = stream
        self._io_writer = asyncio.StreamWriter(transport, protocol, stream, loop)

"""Connections to hosts that take texts: one for each address, whoever sends, kept open, opened again when it ends."""

import asyncio
import socket
import time
from typing import Final

from services.io_signal.hand.drivers.base import DeviceError, Limits, from_bytes
from services.io_signal.hand.drivers.reach import allowed_address
from services.io_signal.patterns import Pattern
from services.io_signal.signals.addresses import TcpAddress

_MOST_REPLY_BYTES: Final = 64 << 10  # a device that says more without being asked is no device of this kind


class TcpLine:
    """Belongs to the event loop; texts go out one after the other."""

    def __init__(self, address: TcpAddress, limits: Limits) -> None:
        self._address, self._limits = address, limits
        self._turn = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect, where that is not so.

        Raises:
            BadRequest: it is not among the hosts that are allowed.
            DeviceError: it cannot be reached.
        """
        async with self._turn:
            await self._connected()

    async def send(self, data: bytes, reply: Pattern | None) -> tuple[int, str]:
        """CLOCK_REALTIME in ns when the kernel had it all, or the answer was there; and the answer.

        Raises as `open`; after a failure the connection is made anew.
        """
        async with self._turn:
            reader, writer = await self._connected()
            try:
                writer.write(data)
                await writer.drain()
                sent_ns = time.time_ns()
                if reply is None:
                    return sent_ns, ""
                answer = await self._matching(reader, reply)
                return time.time_ns(), answer
            except OSError as error:
                self._drop()
                raise DeviceError(f"{self._address}: {error.strerror or error}") from None
            except BaseException:  # cancelled at the end of its time too: what comes now belongs to nobody
                self._drop()
                raise

    def close(self) -> None:
        """What was sent still goes out."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is not None and self._writer is not None:
            _forget_unasked(self._reader)
            # Its end is seen before a text is lost in it.
            if not self._reader.at_eof() and self._reader.exception() is None and not self._writer.is_closing():
                return self._reader, self._writer
            self._drop()
        address = await allowed_address(self._address, self._limits)
        try:
            # A stream's pause by its limit is what bounds a device that talks and talks.
            self._reader, self._writer = await asyncio.open_connection(
                address, self._address.port, limit=_MOST_REPLY_BYTES
            )
        except OSError as error:
            raise DeviceError(f"{self._address}: {error.strerror or error}") from None
        transport = self._writer.transport
        transport.set_write_buffer_limits(high=0)  # drained: the kernel has it
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a cable that was pulled is noticed by itself
        for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5_000)  # ms: so long unread is gone
        return self._reader, self._writer

    async def _matching(self, reader: asyncio.StreamReader, reply: Pattern) -> str:
        data = b""
        while True:
            part = await reader.read(_MOST_REPLY_BYTES)
            data += part
            text = from_bytes(data)
            if reply.search(text):
                return text
            if not part:
                raise DeviceError(f"{self._address} ended the connection after {text[:80]!r}")
            if len(data) > _MOST_REPLY_BYTES:
                raise DeviceError(f"{self._address} answers {text[:80]!r}… and nothing that matches")

    def _drop(self) -> None:
        """Reset it: the peer shall know that what it has is not all."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.transport.abort()


def _forget_unasked(reader: asyncio.StreamReader) -> None:
    """What came before the question is no answer to it."""
    # StreamReader has no way to read only what is there; its buffer is the same in all versions since 3.4.
    buffer: bytearray = reader._buffer  # type: ignore[attr-defined]
    buffer.clear()
    reader._maybe_resume_transport()  # type: ignore[attr-defined]


class TcpLines:
    """One line for each address, for as long as somebody has it."""

    def __init__(self) -> None:
        self._lines: dict[TcpAddress, tuple[TcpLine, int]] = {}

    def take(self, address: TcpAddress, limits: Limits) -> TcpLine:
        line, users = self._lines.get(address) or (TcpLine(address, limits), 0)
        self._lines[address] = (line, users + 1)
        return line

    def leave(self, address: TcpAddress) -> None:
        """Once for each `take`."""
        line, users = self._lines.pop(address)
        if users > 1:
            self._lines[address] = (line, users - 1)
        else:
            line.close()


LINES: Final = TcpLines()
"""Of this process, the hand: a device that takes one connection is never fought for."""

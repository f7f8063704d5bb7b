"""Lines over this process's standard input and output, without ever waiting in the event loop."""

import asyncio
import sys
from typing import Self

from services.io_signal.hand.protocol import MAX_LINE_BYTES, FromHand, line

_MOST_UNSENT_BYTES = 4 << 20
"""A service that does not read for so long that this gathers stands still: what it would be told is left out."""


class StandardLines:
    """Belongs to the event loop."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport) -> None:
        self._reader, self._transport = reader, transport
        self.left_out = 0

    @classmethod
    async def open(cls) -> Self:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(MAX_LINE_BYTES)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout)
        return cls(reader, transport)

    async def read(self) -> bytes:
        """The next line; empty at the end.

        Raises:
            ValueError: it is longer than any that is said.
        """
        return await self._reader.readline()

    def tell(self, message: FromHand) -> None:
        """Send it as soon as it can be; nothing where nobody listens any more."""
        if self._transport.is_closing() or self._transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            self.left_out += 1
            return
        self._transport.write(line(message))

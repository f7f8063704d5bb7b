"""Lines over a child process's standard input and output, without ever waiting in the event loop."""

import asyncio
import sys
from collections.abc import Callable
from typing import Final, Self, TypeVar

import msgspec
from msgspec import Struct

from schemas.errors import BadRequest

Setup = TypeVar("Setup", bound=Struct)

_encode: Final = msgspec.json.Encoder().encode


class StandardLines:
    """Belongs to the event loop."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport, most_unsent_bytes: int) -> None:
        self._reader, self._transport, self._most_unsent_bytes = reader, transport, most_unsent_bytes
        self.left_out = 0

    @classmethod
    async def open(cls, *, max_line_bytes: int, most_unsent_bytes: int) -> Self:
        """Args:
        most_unsent_bytes: a parent that does not read for so long that this gathers stands still: what it would be
            told is left out, and counted.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(max_line_bytes)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout)
        return cls(reader, transport, most_unsent_bytes)

    async def read(self) -> bytes:
        """The next line; empty at the end.

        Raises:
            ValueError: it is longer than any that is said.
        """
        return await self._reader.readline()

    def tell(self, message: Struct) -> None:
        """Send it as soon as it can be; nothing where nobody listens any more."""
        if self._transport.is_closing() or self._transport.get_write_buffer_size() > self._most_unsent_bytes:
            self.left_out += 1
            return
        self._transport.write(_encode(message) + b"\n")


def read_setup(line: bytes, read: Callable[[bytes], object], kind: type[Setup]) -> Setup:
    """What the first line says, by which a process is told what it is for.

    Raises:
        BadRequest: it is no `kind`.
    """
    try:
        setup = read(line)
    except msgspec.DecodeError as error:
        raise BadRequest(f"the first line: {error}") from None
    if not isinstance(setup, kind):
        raise BadRequest("the first line is no setup")
    return setup

"""A rendition's packets in the order they were made, none missing: from the bus, and from the ring what it lost.

The bus delivers at most once. Client and encoder share a host, so what did not come lies in the packet ring still.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.errors import NotFound
from schemas.packets import PacketHeader
from shared.packet_ring import PacketRingReader
from shared.ring import RingError

log = logging.getLogger(__name__)

Take = Callable[[PacketHeader, bytes], None]
_READS: Final = 8  # of the ring in a row: each brings what came during the one before


class PacketArrivals:
    """Belongs to the event loop."""

    def __init__(self, folder: Path, stream: str, rendition: str, take: Take) -> None:
        """`take` gets each packet of pictures once; after those of one run may come those of another."""
        self._folder, self._stream, self._rendition = folder, stream, rendition
        self._take = take
        self._run = self._index = 0
        self._newest = (0, 0)
        """(run, index) of the newest packet that the bus brought."""
        self._reading: asyncio.Task[None] | None = None

    def receive(self, header: PacketHeader, payload: memoryview) -> None:
        """What the bus brings."""
        if header.track != "video":
            return
        self._newest = max(self._newest, (header.run, header.index))
        if self._reading is not None:
            return  # it is in the ring, which is being read
        if (header.run > self._run and header.index == 1) or (
            header.run == self._run and header.index == self._index + 1
        ):
            self._advance(header, bytes(payload))
        elif (header.run, header.index) > (self._run, self._index):
            self.look()

    def look(self) -> None:
        """Read the ring: the bus may have lost the last packets."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name=f"packets of {self._stream}")

    async def _read(self) -> None:
        try:
            for _ in range(_READS):
                for header, payload in await self._look_up():
                    self._advance(header, payload)
                if (self._run, self._index) >= self._newest:
                    return
            log.warning("packets of %s come faster than they are read", self._stream)
        finally:
            self._reading = None

    async def _look_up(self) -> list[tuple[PacketHeader, bytes]]:
        try:
            return await asyncio.to_thread(self._missing)
        except RuntimeError:  # the interpreter ends and makes no threads any more; nobody else needs the loop then
            return self._missing()

    def _missing(self) -> list[tuple[PacketHeader, bytes]]:
        try:
            with PacketRingReader.open_latest(self._folder, self._stream, self._rendition) as ring:
                found = list(ring.after(self._run, self._index))
                run = ring.run
        except (NotFound, RingError, OSError) as error:
            log.debug("packet ring of %s: %s", self._stream, error)
            return []
        after = self._index if run == self._run else 0
        return [(head, body) for head, body in found if head.track == "video" and head.index > after]

    def _advance(self, header: PacketHeader, payload: bytes) -> None:
        self._run, self._index = header.run, header.index
        self._take(header, payload)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

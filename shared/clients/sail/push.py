"""An encoder's output in the mesh: the publisher pushes what is encoded."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from schemas.resources import OutputActual
from schemas.subjects import ACTUAL_BUCKET, state_key
from shared.bus import Entry, Mirror
from shared.clients.async_mesh import AsyncMesh
from shared.clients.sail.log import log
from shared.clients.take_away import take_away
from shared.demand import DemandBoard
from shared.state import read_entry
from shared.tasks import set_within

OUTPUT: Final = "sail"
_CONSUMER: Final = f"publisher-{OUTPUT}"  # by which the publisher shows its demand
_FAILS: Final = frozenset(("retrying", "failed"))
_TAKES_SECONDS: Final = 5.0  # milliseconds, when the publisher has nothing else to do


class Push:
    """From `open` to the end of its stack. Belongs to the mesh's event loop."""

    def __init__(self, mesh: AsyncMesh, stream: str, rendition: str, failed: Callable[[str], None]) -> None:
        """`failed`: called when the destination does not take what was encoded, once for each try."""
        self._mesh, self._stream, self._rendition, self._failed = mesh, stream, rendition, failed
        self._seen = ""
        self._refused = False
        self._news = asyncio.Event()
        """Something may have changed of what `open` waits for."""

    async def open(self, url: str, stack: contextlib.AsyncExitStack) -> None:
        """Make the output; from then on none of the rendition's packets is missed. `stack` takes it away again.

        Raises:
            MeshError: the publisher refused, or does not run.
        """
        mesh = self._mesh
        mirror = Mirror(
            await mesh.bus.bucket(ACTUAL_BUCKET),
            state_key("publisher", f"{self._stream}--{OUTPUT}"),
            lambda _key, entry: self._changed(entry),
        )
        stack.push_async_callback(mirror.close)
        stack.push_async_callback(self._end)  # also of one whose answer is lost
        # Not waited for: it connects with the first key picture, and the mirror tells how that went.
        await mesh.start_output(self._stream, OUTPUT, url, rendition=self._rendition, wait_s=0)
        await self._taken()

    async def _taken(self) -> None:
        """Wait until the publisher takes packets: pictures written before would be missing at the destination."""
        # It shows its demand on the connection that it has subscribed on, and afterwards.
        board = await DemandBoard.open(self._mesh.bus, self._mesh.settings.node, self._news.set)
        deadline = time.monotonic() + _TAKES_SECONDS
        try:
            while not self._refused and _CONSUMER not in board.consumers(self._stream, self._rendition):
                self._news.clear()
                if not await set_within(self._news, deadline - time.monotonic()):
                    log.warning("%s: the publisher takes no packets; the first may be missing", self._stream)
                    return
        finally:
            await board.close()

    def _changed(self, entry: Entry | None) -> None:
        actual = read_entry(entry, OutputActual)
        if actual is None:
            return
        said = f"{actual.state} {actual.retries}"
        if actual.state in _FAILS and said != self._seen:
            self._failed(actual.error.message if actual.error else actual.state)
        if actual.state == "failed":
            self._refused = True
            self._news.set()
        self._seen = said

    async def _end(self) -> None:
        stream = self._stream
        await take_away(f"the output of {stream}", lambda: self._mesh.stop_output(stream, OUTPUT))

"""What inputs tell of a machine, on its way to the pictures of a stream."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.errors import Conflict
from schemas.picture_values import REFRESH_SECONDS, PictureValue, PictureValues
from schemas.signal_resources import EventDetail
from schemas.subjects import picture_values
from shared.bus import Bus
from shared.tasks import set_within

_encode: Final = msgspec.json.Encoder().encode


class ValuePoster:
    """Posts each new value at once, with others of the same turn of the event loop, and all of them once a second."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[tuple[str, str], PictureValue] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._nodes: dict[str, Callable[[], str | None]] = {}
        self._new: dict[str, list[PictureValue]] = {}

    def claim(self, stream: str, name: str, owner: str, node: Callable[[], str | None]) -> None:
        """`owner` alone tells this value from now on. `node`: where the stream is; None: nowhere yet.

        Raises:
            Conflict: another input does already.
        """
        if (other := self._owners.get((stream, name), owner)) != owner:
            raise Conflict(f"attach: input {other} tells {name} of {stream} already; choose another name")
        self._owners[stream, name] = owner
        self._nodes[stream] = node

    def release(self, stream: str, name: str, owner: str) -> None:
        """Pictures have it no more; nothing where somebody else tells it."""
        if self._owners.get((stream, name)) != owner:
            return
        del self._owners[stream, name]
        if self._known.pop((stream, name), None) is not None:
            self._post(stream, PictureValue(name=name, value=None, at_ns=time.time_ns()))

    def tell(self, stream: str, name: str, value: EventDetail, at_ns: int) -> None:
        told = self._known[stream, name] = PictureValue(name=name, value=value, at_ns=at_ns)
        self._post(stream, told)

    def _post(self, stream: str, value: PictureValue) -> None:
        if not self._new:
            asyncio.get_running_loop().call_soon(self._post_new)
        self._new.setdefault(stream, []).append(value)

    def _post_new(self) -> None:
        new, self._new = self._new, {}
        for stream, values in new.items():
            self._send(stream, values)

    def _send(self, stream: str, values: list[PictureValue]) -> None:
        of_stream = self._nodes.get(stream)
        node = of_stream() if of_stream is not None else None
        if node is not None:
            self._bus.post(picture_values(node, stream), _encode(PictureValues(values=tuple(values))))

    async def run(self) -> None:
        """Tell all of them again and again, for ever."""
        never = asyncio.Event()
        while True:
            await set_within(never, REFRESH_SECONDS)
            known: dict[str, list[PictureValue]] = {}
            for (stream, _), value in self._known.items():
                known.setdefault(stream, []).append(value)
            for stream, values in known.items():
                self._send(stream, values)

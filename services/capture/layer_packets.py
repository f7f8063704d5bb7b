"""The layers of a publisher as renditions of the stream: on the bus and in a packet ring while somebody wants them."""

import time
from pathlib import Path
from typing import Any

from shared.bus import Bus
from shared.packets import PacketPublisher

_EXPECTED_SECONDS = 2.0  # demand comes within some 100 ms
_RING_SECONDS = 15.0  # as of `source`
_RING_BYTES = 8 << 20  # so much of 4 Mbit/s; layers begin with a fresh key picture, so little depends on what is kept


class LayerPackets:
    """Used by one source's thread; `wanted` is set from the event loop.

    `source` is published by itself, as it goes from layer to layer. A layer that nobody wants by its name costs nothing
    here, so its packets are on the bus once unless somebody wants the same pictures under both names.
    """

    def __init__(self, bus: Bus, folder: Path, stream: str, run: int) -> None:
        self._bus, self._folder, self._stream, self._run = bus, folder, stream, run
        self._open: dict[str, PacketPublisher] = {}
        self._begin: set[str] = set()
        """Those of the open ones that wait for their first key picture."""
        self._expected_until_s: dict[str, float] = {}
        """As many as there are layers."""
        self.wanted: frozenset[str] = frozenset()
        """Renditions."""

    def publish(self, rendition: str, payload: bytes, *, track: str, key: bool, **fields: Any) -> bool:
        """One access unit of a layer, or of the sound that goes with it, if anybody wants it.

        True: whoever does waits for a key picture.

        Raises:
            OutOfSpace: shared memory is too small for the packet ring.
        """
        publisher = self._open.get(rendition)
        if rendition not in self.wanted and time.monotonic() > self._expected_until_s.get(rendition, 0.0):
            if publisher is not None:
                self._open.pop(rendition).close()
                self._begin.discard(rendition)
            return False
        if publisher is None:
            publisher = self._open[rendition] = PacketPublisher(
                self._bus,
                self._folder,
                stream=self._stream,
                rendition=rendition,
                run=self._run,
                ring_seconds=_RING_SECONDS,
                ring_bytes=_RING_BYTES,
            )
            self._begin.add(rendition)
        if track == "video" and rendition in self._begin:
            if not key:
                return True
            self._begin.remove(rendition)
        publisher.publish(payload, track=track, key=key, **fields)
        return False

    def expect(self, rendition: str) -> None:
        """Somebody has asked for a key picture of this layer, and so will want it: what shows demand comes later than
        the picture may. From any thread."""
        self._expected_until_s[rendition] = time.monotonic() + _EXPECTED_SECONDS

    def gap(self, rendition: str | None = None) -> None:
        """Packets of this layer, or of all, are missing before the next."""
        for name, publisher in self._open.items():
            if rendition in (None, name):
                publisher.gap()

    def close(self) -> None:
        """Remove the packet rings. May be called again."""
        for publisher in tuple(self._open.values()):
            publisher.close()

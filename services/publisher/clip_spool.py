"""Packets set aside for a clip whose end is to come: the packet ring may forget them before."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.packets import Track
from services.publisher.catch_up import Packet
from services.publisher.clip_orders import ClipOrder
from services.publisher.packet_file import read_spool, spool
from shared.packet_ring import PacketRingReader
from shared.ring import RingError

_log = logging.getLogger(__name__)

_FILE_MODE: Final = 0o640
_FRESH: Final = (-1, -1)


class ClipSpool:
    """One clip's. From one thread at a time; blocks."""

    def __init__(self, shm_dir: Path, order: ClipOrder, path: Path, max_bytes: int) -> None:
        """`max_bytes`: what comes beyond must be in files by then, or in the ring."""
        self._shm_dir, self._order, self._path = shm_dir, order, path
        self._max_bytes, self._bytes = max_bytes, 0
        self._fd = -1
        self._ring: PacketRingReader | None = None
        self._positions: dict[Track, tuple[int, int]] = {}
        """(run, index) of the last packet of each track that was set aside."""
        self._reached_ns = 0

    def look(self) -> int:
        """Set aside what is new in the ring; the capture time of the newest picture, 0 when there is none."""
        try:
            if self._fd < 0:
                self._open()
            for header, payload in self._new_packets():
                position = (header.run, header.index)
                if position <= self._positions.get(header.track, _FRESH):
                    continue
                if self._bytes < self._max_bytes:
                    self._bytes += spool(self._fd, header, payload)
                self._positions[header.track] = position
                if header.track == "video":
                    self._reached_ns = header.captured_ns
        except RingError as error:
            _log.warning("clip %s: some packets are not set aside: %s", self._order.clip, error)
        except OSError as error:
            _log.warning("clip %s: nothing more is set aside: %s", self._order.clip, error)
            self._max_bytes = 0
        return self._reached_ns

    def _new_packets(self) -> Iterator[Packet]:
        """To the end of the ring that was looked at before, then of the newest: a producer that begins again, or keeps
        more, makes another one."""
        before = self._ring
        with contextlib.suppress(LookupError):
            newest = PacketRingReader.open_latest(self._shm_dir, self._order.stream, self._order.rendition)
            if before is not None and before.name == newest.name:
                newest.close()
            else:
                self._ring = newest
        if before is not None:
            yield from before.onward()
        if self._ring is not None and self._ring is not before:
            if before is not None:
                before.close()
            last = self._positions.get("video", _FRESH)
            yield from self._ring.since_capture(self._order.start_ns) if last == _FRESH else self._ring.after(*last)

    def close(self) -> None:
        """Nothing more is set aside."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        if self._ring is not None:
            self._ring.close()

    def _open(self) -> None:
        """Go on after what an earlier run has set aside whole.

        Raises:
            OSError: the state folder does not take it.
        """
        whole = 0
        for header, _, size in read_spool(self._path):
            self._positions[header.track] = (header.run, header.index)
            whole += size
            if header.track == "video":
                self._reached_ns = header.captured_ns
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, _FILE_MODE)
        os.ftruncate(self._fd, whole)
        self._bytes = whole

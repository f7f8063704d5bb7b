"""The queue in front of one output: bounded in bytes and packets, and always ready to start at a key frame."""

import threading
import time
from collections import Counter, deque
from typing import NamedTuple

from schemas.packets import PacketHeader


class QueuedPacket(NamedTuple):
    header: PacketHeader
    payload: memoryview


class PacketQueue:
    """Between the event loop, which puts, and one output's thread, which takes. Putting never waits.

    When it is full, the oldest packets go, up to the next queued key frame: a destination that is slow misses
    whole groups of pictures and then goes on with what is newest. Every packet that goes is counted.
    """

    def __init__(self, max_bytes: int, max_packets: int) -> None:
        self._max_bytes, self._max_packets = max_bytes, max_packets
        self._packets: deque[QueuedPacket] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._refusing: str | None = None
        self._wait_for_key = False
        self._closed = False
        self._dropped: Counter[str] = Counter()

    def put_when_room(self, header: PacketHeader, payload: memoryview, timeout_seconds: float) -> None:
        """`put`, after waiting for room: for packets of the past, which come faster than any destination takes them."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while (
                not self._closed
                and self._refusing is None
                and self._packets
                and (self._bytes + len(payload) > self._max_bytes or len(self._packets) >= self._max_packets)
                and (remaining := deadline - time.monotonic()) > 0
            ):
                self._changed.wait(remaining)
        self.put(header, payload)

    def put(self, header: PacketHeader, payload: memoryview) -> None:
        """Add a packet, or drop and count."""
        with self._changed:
            if self._closed or self._refusing is not None:
                self._dropped[self._refusing or "stopped"] += 1
                return
            if self._bytes + len(payload) > self._max_bytes or len(self._packets) >= self._max_packets:
                self._make_room(len(payload))
            if self._wait_for_key:
                if not _is_video_key(header) or len(payload) > self._max_bytes:
                    self._dropped["queue_full"] += 1
                    return
                self._wait_for_key = False
            self._packets.append(QueuedPacket(header, payload))
            self._bytes += len(payload)
            self._changed.notify_all()

    def take(self, timeout_seconds: float) -> QueuedPacket | None:
        """The oldest packet; None when there is none within the time, or ever again (`finished`)."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not self._packets:
                remaining = deadline - time.monotonic()
                if self._closed or remaining <= 0:
                    return None
                self._changed.wait(remaining)
            packet = self._packets.popleft()
            self._bytes -= len(packet.payload)
            self._changed.notify_all()
            return packet

    def refuse(self, reason: str) -> None:
        """Drop what is queued and what comes, counted as `reason`, until `accept`."""
        with self._changed:
            self._dropped[reason] += len(self._packets)
            self._clear()
            self._refusing = reason
            self._changed.notify_all()

    def accept(self) -> None:
        with self._changed:
            self._refusing = None

    def drops(self) -> Counter[str]:
        """Packets that never reached the output, by reason: `queue_full`, or why it was not taking any."""
        with self._changed:
            return self._dropped.copy()

    def close(self) -> None:
        """Nothing more comes: what is queued can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        with self._changed:
            return self._closed and not self._packets

    def _make_room(self, needed_bytes: int) -> None:
        """Drop whole groups of pictures from the old end until the packet fits; wait for a key when none is left."""
        while self._packets and (
            self._bytes + needed_bytes > self._max_bytes or len(self._packets) >= self._max_packets
        ):
            self._drop_oldest()
            while self._packets and not _is_video_key(self._packets[0].header):
                self._drop_oldest()
        # What was dropped may have been the beginning of the group that the new packet belongs to.
        self._wait_for_key = not self._packets

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._packets.popleft().payload)
        self._dropped["queue_full"] += 1

    def _clear(self) -> None:
        self._packets.clear()
        self._bytes = 0
        self._wait_for_key = False


def _is_video_key(header: PacketHeader) -> bool:
    return header.track == "video" and header.key

"""What was sent when, by its transport-wide sequence number: for what the other end tells of its arrival.

draft-holmer-rmcat-transport-wide-cc-extensions-01: one count for all packets of a session, repairs included.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RECORD_PACKETS = 4096  # two seconds of 20 Mbit/s; a power of two, so that it divides the 16-bit numbers
_NUMBERS = 1 << 16
_SIZE_BITS = 12  # 4095 bytes: no datagram of ours is half as large
_SIZE_MASK = (1 << _SIZE_BITS) - 1


class SentRecord:
    """The last packets of one session, in arrays that are written over; times in microseconds (monotonic)."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.next_number = 0
        """Of the packet that is due next, not wrapped."""
        self._clock_ns = clock_ns
        # One array, as each write costs the packets of all viewers: when, and in the lower bits how large.
        self._sent: NDArray[np.int64] = np.zeros(RECORD_PACKETS, np.int64)
        self._arrived: NDArray[np.int64] = np.full(RECORD_PACKETS, -1)
        """The number of the last packet of each place that has come."""

    def sent(self, count: int, size: int, last_size: int) -> None:
        """So many packets have left now, with UDP payloads of `size` bytes, the last of `last_size`."""
        now = self._clock_ns() // 1000 << _SIZE_BITS
        at = self.next_number % RECORD_PACKETS
        self.next_number += count
        stop = at + count
        self._sent[at:stop] = now | size
        if stop > RECORD_PACKETS:
            stop -= RECORD_PACKETS
            self._sent[:stop] = now | size
        if last_size != size:
            self._sent[stop - 1] = now | last_size

    def find(self, number: int, count: int) -> int | None:
        """The whole number of the first of `count` packets, by its lower 16 bits; None: they are not known."""
        first = self.next_number - ((self.next_number - number) % _NUMBERS)
        known = max(0, self.next_number - RECORD_PACKETS) <= first and first + count <= self.next_number
        return first if known else None

    def sent_us(self, number: int) -> int:
        return int(self._sent[number % RECORD_PACKETS]) >> _SIZE_BITS

    def sent_of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When these left, and their sizes in bytes."""
        found = self._sent[numbers % RECORD_PACKETS]
        return found >> _SIZE_BITS, found & _SIZE_MASK

    def arrived(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these are known to have come."""
        known: NDArray[np.bool_] = self._arrived[numbers % RECORD_PACKETS] == numbers
        return known

    def note_arrived(self, numbers: NDArray[np.int64]) -> None:
        self._arrived[numbers % RECORD_PACKETS] = numbers

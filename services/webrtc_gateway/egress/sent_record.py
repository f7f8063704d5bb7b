"""What was sent when, by its transport-wide sequence number: for what the other end tells of its arrival.

draft-holmer-rmcat-transport-wide-cc-extensions-01: one count for all packets of a session, repairs included.
"""

import time

import numpy as np
from numpy.typing import NDArray

RECORD_PACKETS = 4096  # two seconds of 20 Mbit/s; a power of two, so that it divides the 16-bit numbers
_NUMBERS = 1 << 16


class SentRecord:
    """The last packets of one session, in arrays that are written over; times in microseconds (monotonic)."""

    def __init__(self) -> None:
        self.next_number = 0
        """Of the packet that is due next, not wrapped."""
        self.sent_us: NDArray[np.int64] = np.zeros(RECORD_PACKETS, np.int64)
        self.size: NDArray[np.int32] = np.zeros(RECORD_PACKETS, np.int32)
        self.arrived: NDArray[np.bool_] = np.zeros(RECORD_PACKETS, np.bool_)

    @property
    def room(self) -> int:
        """How many packets there are before the 16-bit numbers start over."""
        return _NUMBERS - self.next_number % _NUMBERS

    def sent(self, count: int, size: int, last_size: int) -> None:
        """So many packets have left now, with UDP payloads of `size` bytes, the last of `last_size`."""
        now_us = time.monotonic_ns() // 1000
        at = self.next_number % RECORD_PACKETS
        self.next_number += count
        while count:
            stop = min(at + count, RECORD_PACKETS)
            self.sent_us[at:stop] = now_us
            self.size[at:stop] = size
            self.arrived[at:stop] = False
            count -= stop - at
            self.size[stop - 1] = size if count else last_size
            at = 0

    def find(self, number: int, count: int) -> int | None:
        """The whole number of the first of `count` packets, by its lower 16 bits; None: they are not known."""
        first = self.next_number - ((self.next_number - number) % _NUMBERS)
        known = max(0, self.next_number - RECORD_PACKETS) <= first and first + count <= self.next_number
        return first if known else None

"""Transport-wide feedback as a receiver writes it, and a bottleneck in virtual time that it can tell of."""

import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.webrtc_gateway.congestion.arrivals import read_arrivals
from services.webrtc_gateway.congestion.bandwidth import Bandwidth
from services.webrtc_gateway.egress.sent_record import SentRecord

TICK_US, REFERENCE_US = 250, 64_000
PACKET_BYTES = 1100


def write_feedback(first: int, count: int, arrived_us: Mapping[int, int], *, vectors: bool = True) -> bytes:
    """The feedback control information on `count` packets; `arrived_us`: when those that came did, by their place."""
    reference = min(arrived_us.values()) // REFERENCE_US
    symbols, deltas, before = [], b"", reference * REFERENCE_US // TICK_US
    for place in range(count):
        if place not in arrived_us:
            symbols.append(0)
            continue
        tick = arrived_us[place] // TICK_US
        small = 0 <= tick - before < 256
        symbols.append(1 if small else 2)
        deltas += struct.pack("!B" if small else "!h", tick - before)
        before = tick
    chunks = b""
    while symbols and vectors:
        part, symbols = symbols[:7], symbols[7:]
        chunk = 0xC000
        for at, symbol in enumerate(part):
            chunk |= symbol << 12 - 2 * at
        chunks += chunk.to_bytes(2, "big")
    while symbols:
        run = next((at for at, symbol in enumerate(symbols) if symbol != symbols[0]), len(symbols))
        chunks += (symbols[0] << 13 | run).to_bytes(2, "big")
        symbols = symbols[run:]
    return struct.pack("!HHI", first & 0xFFFF, count, (reference & 0xFFFFFF) << 8) + chunks + deltas


@dataclass
class Bottleneck:
    """A line of `rate_bps` with a queue of `queue_s`; pictures go in at once, as the gateway sends them."""

    rate_bps: float
    queue_s: float = 0.25
    loss: float = 0.0
    jitter_s: float = 0.0
    now_s: float = 1000.0
    signs: list[str] = field(default_factory=list)
    """Of each window: why it looked too thin."""
    _free_s: float = 0.0
    _told: int = 0
    _came_s: dict[int, float] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.record = SentRecord(lambda: int(self.now_s * 1e9))
        self.bandwidth = Bandwidth(self.record)

    def send(self, packets: int) -> None:
        """Packets that leave now."""
        first = self.record.next_number
        self.record.sent(packets, PACKET_BYTES, PACKET_BYTES)
        for number in range(first, first + packets):
            begins_s = max(self.now_s, self._free_s)
            if begins_s - self.now_s > self.queue_s or self._chance.random() < self.loss:
                continue
            self._free_s = begins_s + PACKET_BYTES * 8 / self.rate_bps
            self._came_s[number] = self._free_s + self._chance.random() * self.jitter_s

    def play(self, seconds: float, bitrate_bps: float, *, fps: int = 30, key_packets: int = 0) -> None:
        """Pictures of that rate, every two seconds one of `key_packets` more, and feedback every 0.1 s."""
        owed, told_s, began_s = 0.0, self.now_s, self.now_s
        for number in range(int(seconds * fps)):
            self.now_s = began_s + number / fps
            owed += bitrate_bps / fps / 8 / PACKET_BYTES
            packets = int(owed) + (key_packets if number % (2 * fps) == 0 else 0)
            owed -= int(owed)
            if packets:
                self.send(packets)
            if self.now_s - told_s >= 0.1:
                told_s = self.now_s
                self.tell()

    def tell(self) -> None:
        """The other end's feedback on what has come by now, and on what is missing before."""
        came = {number: at for number, at in self._came_s.items() if at <= self.now_s and number >= self._told}
        if not came:
            return
        first, count = self._told, max(came) + 1 - self._told
        times_us = {number - first: int(at * 1e6) for number, at in came.items()}
        self._told = first + count
        windows = self.bandwidth.windows
        assert self.bandwidth.take(read_arrivals(write_feedback(first, count, times_us)), self.now_s)
        if self.bandwidth.windows != windows:
            self.signs.append("delay" if self.bandwidth.growing else "loss" if self.bandwidth.lossy else "")

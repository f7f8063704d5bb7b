"""A bad line between a viewer and the gateway: a UDP relay that loses, delays, reorders and holds back.

One thread, seeded: the same datagrams in the same order meet the same fate. Put between by writing its port into the
answer's candidate.
"""

import heapq
import random
import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

_DATAGRAM_BYTES = 2048
_IDLE_SECONDS = 0.05  # how soon a line that is changed while nothing flows takes effect, and the end of the thread
_OVERHEAD_BYTES = 28  # of IPv4 and UDP: a line's rate is that of its packets


@dataclass(frozen=True)
class Line:
    """One direction; a perfect line by default."""

    loss: float = 0.0
    """Part of all datagrams, 0 to 1."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """On top of the delay up to so much, evenly spread; order is kept."""
    reorder: float = 0.0
    """Part of all datagrams that come `reorder_ms` later than they should, behind others."""
    reorder_ms: float = 10.0
    rate_bps: float = 0.0
    """bit/s; 0: no limit."""
    queue_ms: float = 300.0
    """How much of that rate waits; what finds the queue full is lost."""


@dataclass
class _Direction:
    line: Line
    chance: random.Random
    free_s: float = 0.0
    """When the line has sent all that waits."""
    last_due_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    def due_s(self, size: int, now_s: float) -> float | None:
        """When a datagram arrives at the other end; None: never."""
        line = self.line
        self.counts["datagrams"] += 1
        # All drawn for each datagram, so that the fate of one does not depend on the settings for another.
        lost, jitter, late = (self.chance.random() for _ in range(3))
        if lost < line.loss:
            self.counts["lost"] += 1
            return None
        sent_s = now_s
        if line.rate_bps:
            begins_s = max(now_s, self.free_s)
            if begins_s - now_s > line.queue_ms / 1e3:
                self.counts["queue_full"] += 1
                return None
            sent_s = self.free_s = begins_s + (size + _OVERHEAD_BYTES) * 8 / line.rate_bps
        due_s = sent_s + (line.delay_ms + jitter * line.jitter_ms) / 1e3
        if late < line.reorder:
            self.counts["reordered"] += 1
            return due_s + line.reorder_ms / 1e3
        self.last_due_s = max(due_s, self.last_due_s)
        return self.last_due_s


class ImpairedLine:
    """Relays between any clients and one server on 127.0.0.1; use as a context manager."""

    def __init__(self, server_port: int, down: Line | None = None, up: Line | None = None, seed: int = 1) -> None:
        """`down` is from the server to its clients."""
        self._server = ("127.0.0.1", server_port)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._front.setblocking(False)
        self.port: int = self._front.getsockname()[1]
        self._down = _Direction(down or Line(), random.Random(seed))
        self._up = _Direction(up or Line(), random.Random(seed + 1))
        self._upstream: dict[tuple[str, int], socket.socket] = {}
        """By client: the server tells clients apart by their addresses."""
        self._waiting: list[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = []
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="impaired-line", daemon=True)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Of both directions: `datagrams`, `lost`, `queue_full`, `reordered`."""
        return {"down": dict(self._down.counts), "up": dict(self._up.counts)}

    @property
    def queued_s(self) -> float:
        """How long what is sent to a client now waits before the line."""
        return max(0.0, self._down.free_s - time.monotonic())

    def change(self, down: Line | None = None, up: Line | None = None) -> None:
        """Another line from now on; what waits still arrives when it would have."""
        self._down.line = down or self._down.line
        self._up.line = up or self._up.line
        self._down.free_s = self._up.free_s = 0.0

    def through(self, answer: str) -> str:
        """The SDP answer, with this line's port in its candidates."""
        return "\r\n".join(
            line.replace(f" {self._server[1]} typ host", f" {self.port} typ host") for line in answer.split("\r\n")
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2)
        for sock in (self._front, *self._upstream.values()):
            sock.close()

    def _run(self) -> None:
        clients: dict[socket.socket, tuple[str, int]] = {}
        while not self._stop.is_set():
            wait_s = min(_IDLE_SECONDS, self._waiting[0][0] - time.monotonic()) if self._waiting else _IDLE_SECONDS
            readable, _, _ = select.select([self._front, *clients], [], [], max(0.0, wait_s))
            for sock in readable:
                try:
                    datagram, address = sock.recvfrom(_DATAGRAM_BYTES)
                except OSError:  # the other end is gone: an ICMP error of an earlier send
                    continue
                if sock is self._front:
                    if address not in self._upstream:
                        self._upstream[address] = upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        upstream.setblocking(False)
                        clients[upstream] = address
                    self._take(self._up, self._upstream[address], datagram, self._server)
                else:
                    self._take(self._down, self._front, datagram, clients[sock])
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, sock, datagram, address = heapq.heappop(self._waiting)
                try:
                    sock.sendto(datagram, address)
                except OSError:  # gone, or its buffer is full: lost, as on any line
                    self._down.counts["unsent"] += 1

    def _take(self, direction: _Direction, out: socket.socket, datagram: bytes, address: tuple[str, int]) -> None:
        due_s = direction.due_s(len(datagram), time.monotonic())
        if due_s is not None:
            self._number += 1
            heapq.heappush(self._waiting, (due_s, self._number, out, datagram, address))

"""One machine that sends lines: bounded in length, in time, and in how many a second."""

import asyncio
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from schemas.units import NS_PER_SECOND
from services.io_signal.hand.drivers.base import InstantClock, Reading

LONGEST_LINE_BYTES: Final = 1_024
_READ_BYTES: Final = 256  # at most 128 lines, 1 ms: outputs' turn must not wait for one who floods
_LINE_SECONDS: Final = 5.0  # from the first byte of a line to its end
# Of all clients of a port. Who sends faster is read from slower, and TCP tells it so: the process has outputs in hand
# as well. Twice what is told of an input, as not every line need be an event.
LINES_PER_SECOND: Final = 1_000
_BURST_LINES: Final = 100
_BYTES_PER_LINE: Final = 256  # what counts as one, whatever the bytes are
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; Python has no name for it
_TIMESPEC: Final = struct.Struct("qq")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)


class LineClient:
    """Reads from a connected socket, which is its own from now on, until `close` or the other side has gone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        take: Callable[[Reading], None],
        left_out: Counter[str],
        lines_per_second: Callable[[], float],
        gone: Callable[["LineClient"], None],
    ) -> None:
        """`lines_per_second`: what it may send now."""
        self._loop, self._socket = loop, connection
        self._take, self._left_out, self._gone = take, left_out, gone
        self._lines_per_second = lines_per_second
        self._begun = b""
        self._limit: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._credit_lines, self._credit_at = float(_BURST_LINES), loop.time()
        loop.add_reader(connection.fileno(), self._read)

    def _read(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ_BYTES, _ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # it has vanished
            self.close()
            return
        if not data:
            self.close()
            return
        at_ns, clock = _instant(ancillary)
        *lines, begun = (self._begun + data).split(b"\n")
        if any(len(line) > LONGEST_LINE_BYTES for line in (*lines, begun)):
            self._left_out["too-long"] += 1
            self.close()
            return
        self._wait_for_the_rest(begun, anew=bool(lines))
        for line in lines:
            if text := line.strip():
                self._take(Reading(text.decode(errors="replace"), at_ns, clock))
        self._rest(max(len(lines), len(data) // _BYTES_PER_LINE))

    def _wait_for_the_rest(self, begun: bytes, *, anew: bool) -> None:
        self._begun = begun
        if self._limit is not None and (anew or not begun):
            self._limit.cancel()
            self._limit = None
        if begun and self._limit is None:
            self._limit = self._loop.call_later(_LINE_SECONDS, self._unfinished)

    def _unfinished(self) -> None:
        self._left_out["unfinished"] += 1
        self.close()

    def _rest(self, lines: int) -> None:
        now, rate = self._loop.time(), self._lines_per_second()
        earned = (now - self._credit_at) * rate
        self._credit_lines, self._credit_at = min(_BURST_LINES, self._credit_lines + earned) - lines, now
        if self._credit_lines < 0 and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._pause = self._loop.call_later(-self._credit_lines / rate, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        for timer in (self._limit, self._pause):
            if timer is not None:
                timer.cancel()
        self._socket.close()
        self._gone(self)


def _instant(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, InstantClock]:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, rest_ns = _TIMESPEC.unpack_from(data)
            return seconds * NS_PER_SECOND + rest_ns, "kernel"
    return time.time_ns(), "arrival"

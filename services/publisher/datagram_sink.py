"""Cuts a transport stream into datagrams."""

from collections.abc import Callable


class DatagramSink:
    """What a muxer writes to. Each call is one flush, and ends with what is left as a shorter datagram."""

    def __init__(self, send: Callable[[memoryview], None], datagram_bytes: int) -> None:
        """`send` takes one datagram; what it raises ends the mux call."""
        self._send, self._datagram_bytes = send, datagram_bytes

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        for start in range(0, len(view), self._datagram_bytes):
            self._send(view[start : start + self._datagram_bytes])
        return len(data)

"""Outputs by TCP: a text for on, another for off, and the device's answer where one is asked for."""

from schemas.signal_resources import SignalSpec
from services.io_signal.hand.drivers.base import Limits, to_bytes
from services.io_signal.hand.drivers.tcp_line import LINES
from services.io_signal.patterns import Pattern, compile_pattern
from services.io_signal.signals.addresses import TcpAddress, output_address


class TcpOutput:
    """See `OutputDriver`."""

    def __init__(self, spec: SignalSpec, limits: Limits) -> None:
        address = output_address("tcp", spec.address)
        assert isinstance(address, TcpAddress)  # of this mode
        self._address = address
        self._reply = compile_pattern(spec.reply, "reply") if spec.reply is not None else None
        self._line = LINES.take(address, limits)
        self._closed = False

    async def open(self) -> None:
        await self._line.open()

    async def set(self, on: bool, text: str) -> int:
        edge_ns, _ = await self._line.send(to_bytes(text), self._reply)
        return edge_ns

    async def send(self, text: str, reply: Pattern | None) -> str:
        return (await self._line.send(to_bytes(text), reply))[1]

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            LINES.leave(self._address)


async def send_to(address: TcpAddress, limits: Limits, text: str, reply: Pattern | None) -> tuple[int, str]:
    """A text to a host, over the connection of a signal that has the same address, or one of its own.

    Raises:
        BadRequest: it is not among the hosts that are allowed.
        DeviceError: not sent, or no answer that matches.
    """
    line = LINES.take(address, limits)
    try:
        return await line.send(to_bytes(text), reply)
    finally:
        LINES.leave(address)

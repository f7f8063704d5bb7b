"""UART: texts to a device on a serial line, its answers, and the lines that it sends by itself."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from schemas.signal_resources import InputSpec, SignalSpec
from services.io_signal.hand.drivers.base import DeviceError, Limits, Reading, from_bytes, to_bytes
from services.io_signal.hand.drivers.lines import LineSplitter
from services.io_signal.hand.drivers.serial_line import leave_line, take_line
from services.io_signal.patterns import Pattern, compile_pattern
from services.io_signal.signals.addresses import SerialAddress, input_address, output_address

_MOST_REPLY_BYTES: Final = 4_096  # four seconds of 9600 baud: a device that says more is not answering
_SHOWN_CHARACTERS: Final = 80


class UartOutput:
    """See `OutputDriver`. Without `reply` the device has a text when the line has sent it."""

    def __init__(self, spec: SignalSpec, limits: Limits) -> None:
        address = output_address("uart", spec.address)
        assert isinstance(address, SerialAddress)  # of this mode
        self._reply = compile_pattern(spec.reply, "reply") if spec.reply is not None else None
        self._line = take_line(address, limits)
        self._closed = False

    async def open(self) -> None:
        await self._line.open()

    async def set(self, on: bool, text: str) -> int:
        edge_ns, _ = await self._exchange(text, self._reply)
        return edge_ns

    async def send(self, text: str, reply: Pattern | None) -> str:
        return (await self._exchange(text, reply))[1]

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await leave_line(self._line)

    async def _exchange(self, text: str, reply: Pattern | None) -> tuple[int, str]:
        async with self._line.turns.turn(command=True):
            await self._line.open()
            if reply is None:
                await self._line.write(to_bytes(text))
                return time.time_ns(), ""
            heard = _Heard(reply, str(self._line.address))
            stop = self._line.listen(heard.take, heard.lose)
            try:
                await self._line.write(to_bytes(text))
                return await heard.answer
            finally:
                stop()
                heard.answer.cancel()


class _Heard:
    """What a device says after a question, until it matches."""

    def __init__(self, pattern: Pattern, where: str) -> None:
        self._pattern, self._where, self._data = pattern, where, b""
        self.answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def take(self, data: bytes) -> None:
        if self.answer.done():
            return
        self._data += data
        text = from_bytes(self._data)
        if self._pattern.search(text):
            self.answer.set_result((time.time_ns(), text))
        elif len(self._data) > _MOST_REPLY_BYTES:
            shown = text[:_SHOWN_CHARACTERS]
            self.lose(DeviceError(f"{self._where} answers {shown!r}… and nothing that matches"))

    def lose(self, error: DeviceError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class UartInput:
    """See `InputDriver`. A reading is a line; its instant is that of its last byte's arrival."""

    def __init__(self, spec: InputSpec, limits: Limits) -> None:
        address = input_address("uart", spec.address)
        assert isinstance(address, SerialAddress)  # of this mode
        self._line = take_line(address, limits)
        self._closed = False
        self.left_out: Counter[str] = Counter()
        """Lines `too-long`."""

    async def open(self) -> None:
        await self._line.open()

    async def run(self, take: Callable[[Reading], None]) -> None:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lines = LineSplitter()

        def hear(data: bytes) -> None:
            at_ns = time.time_ns()
            too_long = lines.too_long
            for line in lines.take(data):
                take(Reading(line, at_ns, "arrival"))
            if lines.too_long != too_long:
                self.left_out["too-long"] += lines.too_long - too_long

        def lose(error: DeviceError) -> None:
            if not lost.done():
                lost.set_exception(error)

        stop = self._line.listen(hear, lose)
        try:
            await lost
        finally:
            stop()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await leave_line(self._line)

"""Modbus: coils and registers of a PLC or a module of outputs, by TCP and by serial lines (RTU)."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from schemas.errors import InvalidValue
from schemas.signal_resources import InputSpec, SignalSpec
from schemas.units import parse_duration
from services.io_signal.hand.drivers.base import Limits, Reading, no_texts
from services.io_signal.hand.drivers.modbus_link import leave_link, take_link
from services.io_signal.hand.drivers.modbus_polls import Member, leave_polls, take_polls
from services.io_signal.hand.drivers.modbus_tables import check_written, value_of, write_request
from services.io_signal.patterns import Pattern
from services.io_signal.signals.addresses import ModbusAddress, input_address, output_address

_SHORTEST_POLL_SECONDS: Final = 0.001


class ModbusOutput:
    """See `OutputDriver`. The device's own echo of a write is what tells that it has it."""

    def __init__(self, spec: SignalSpec, limits: Limits) -> None:
        address = output_address("modbus", spec.address)
        assert isinstance(address, ModbusAddress)  # of this mode
        self._address = address
        if address.table == "coil":
            self._off, self._on = (0, 1) if spec.polarity == "active-high" else (1, 0)
        else:
            self._off, self._on = spec.off_value, spec.on_value
        self._link = take_link(address.device, limits)
        self._closed = False

    async def open(self) -> None:
        await self._link.open()

    async def set(self, on: bool, text: str) -> int:
        value = self._on if on else self._off
        answer = await self._link.ask(write_request(self._address, value), command=True)
        edge_ns = time.time_ns()
        check_written(self._address, value, answer)
        return edge_ns

    async def send(self, text: str, reply: Pattern | None) -> str:
        raise no_texts(f"{self._address.table} {self._address.number} at {self._address.device}")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await leave_link(self._link)


class ModbusInput:
    """See `InputDriver`. Its first reading tells how it is, the others how it has changed."""

    def __init__(self, spec: InputSpec, limits: Limits) -> None:
        address = input_address("modbus", spec.address)
        assert isinstance(address, ModbusAddress)  # of this mode
        every_seconds = parse_duration(spec.poll, "poll")
        if every_seconds < _SHORTEST_POLL_SECONDS:
            raise InvalidValue("poll", spec.poll, "write 1ms or more")
        self._address = address
        self._polls = take_polls(address, every_seconds, limits)
        self._words: list[int] | None = None
        self._closed = False

    async def open(self) -> None:
        await self._polls.open()

    async def run(self, take: Callable[[Reading], None]) -> None:
        def look(words: Sequence[int], at_ns: int) -> None:
            if self._words != (now := list(words)):
                self._words = now
                take(Reading(value_of(self._address, now), at_ns, "arrival"))

        member = Member(self._address, look)
        self._polls.add(member)
        try:
            await member.failed
        finally:
            self._polls.remove(member)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await leave_polls(self._polls)

"""A PLC: pymodbus' own server with coils and registers, by TCP or on a serial line, and its moods."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

_WRITE_FUNCTIONS = {5: "coil", 6: "register"}
_READ_FUNCTIONS = {1: "coil", 2: "discrete", 3: "register", 4: "input-register"}
UNIT = 1


class Written(NamedTuple):
    table: str
    number: int
    value: int
    at_ns: int
    """CLOCK_REALTIME."""


class Plc:
    """Unit 1. Coils and discretes 0 to 79, registers 0 to 15 and from 100 to 139; what lies between is not there."""

    def __init__(self) -> None:
        self.written: list[Written] = []
        self.reads: list[tuple[str, int, int]] = []
        """Table, first number and count of each request."""
        self.on_write: Callable[[Written], None] | None = None
        """Told of writes, which are not kept then."""
        self.refuses: ExcCodes | None = None
        self.hangs = False
        self._server: ModbusTcpServer | ModbusSerialServer | None = None
        self._changed = asyncio.Event()
        bits = SimData(0, count=80, values=False, datatype=DataType.BITS)
        numbers = [
            SimData(0, count=16, values=0, datatype=DataType.REGISTERS),
            SimData(100, count=40, values=0, datatype=DataType.REGISTERS),
        ]
        self._device = SimDevice(id=UNIT, simdata=([bits], [bits], numbers, numbers), action=self._act)

    async def serve_tcp(self, port: int = 0) -> int:
        """Its port."""
        self._server = ModbusTcpServer(self._device, address=("127.0.0.1", port))
        await self._server.serve_forever(background=True)
        assert isinstance(self._server.transport, asyncio.Server)
        return int(self._server.transport.sockets[0].getsockname()[1])

    async def serve_serial(self, device: str, baud: int = 19_200) -> None:
        """Without parity: a pseudo-terminal knows none."""
        self._server = ModbusSerialServer(self._device, framer=FramerType.RTU, port=device, baudrate=baud, parity="N")
        await self._server.serve_forever(background=True)

    async def vanish(self) -> None:
        """Its connections end, and nobody listens."""
        if self._server is not None:
            await self._server.shutdown()
            self._server = None

    @property
    def connections(self) -> int:
        return len(self._server.active_connections) if self._server is not None else 0

    async def put(self, table: str, number: int, *values: int) -> None:
        """Have an input say so."""
        assert self._server is not None
        function = next(code for code, name in _READ_FUNCTIONS.items() if name == table)
        given: list[Any] = [bool(value) for value in values] if table in ("coil", "discrete") else list(values)
        await self._server.async_setValues(UNIT, function, number, given)

    async def has(self, *expected: tuple[str, int, int], seconds: float = 5.0) -> None:
        """Until these were the last writes."""
        async with asyncio.timeout(seconds):
            while [one[:3] for one in self.written[-len(expected) :]] != list(expected):
                self._changed.clear()
                await self._changed.wait()

    async def _act(
        self, function: int, _start: int, address: int, count: int, _registers: list[int], values: Any
    ) -> ExcCodes | None:
        if function in _WRITE_FUNCTIONS and values:
            one = Written(_WRITE_FUNCTIONS[function], address, int(values[0]), time.time_ns())
            if self.on_write is not None:
                self.on_write(one)
            else:
                self.written.append(one)
            self._changed.set()
        elif function in _READ_FUNCTIONS and not values:
            self.reads.append((_READ_FUNCTIONS[function], address, count))
        elif function in _READ_FUNCTIONS:
            return None  # `put`
        while self.hangs:
            await asyncio.sleep(0.01)
        return self.refuses


@contextlib.asynccontextmanager
async def tcp_plc() -> AsyncIterator[tuple[Plc, int]]:
    plc = Plc()
    port = await plc.serve_tcp()
    try:
        yield plc, port
    finally:
        plc.hangs = False
        await plc.vanish()

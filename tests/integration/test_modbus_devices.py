"""Outputs and inputs of a PLC: pymodbus' own server by TCP and on a serial line, and peers that are none."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pymodbus.constants import ExcCodes

from schemas.errors import BadRequest
from schemas.signal_resources import InputSpec, SignalSpec
from services.io_signal.hand import drivers
from services.io_signal.hand.drivers.base import DeviceError, InputDriver, Limits, OutputDriver, Reading
from tests.support.modbus_plc import Plc, tcp_plc
from tests.support.pace import patience
from tests.support.serial_pair import serial_pair

_LIMITS = Limits()


@contextlib.asynccontextmanager
async def _output(address: str, **fields: object) -> AsyncIterator[OutputDriver]:
    driver = drivers.output(SignalSpec(signal="do1", mode="modbus", address=address, **fields), _LIMITS)  # type: ignore[arg-type]
    try:
        yield driver
    finally:
        await driver.close()


class _Watched:
    """An input that is listened to."""

    def __init__(self, driver: InputDriver) -> None:
        self.readings: list[Reading] = []
        self._came = asyncio.Event()
        self.task = asyncio.ensure_future(driver.run(self._take))

    def _take(self, reading: Reading) -> None:
        self.readings.append(reading)
        self._came.set()

    async def reads(self, *values: object) -> None:
        async with patience(5):
            while [one.value for one in self.readings] != list(values):
                self._came.clear()
                await self._came.wait()


@contextlib.asynccontextmanager
async def _input(address: str, **fields: object) -> AsyncIterator[_Watched]:
    spec = InputSpec(input="di1", mode="modbus", address=address, **{"poll": "5ms", **fields})  # type: ignore[arg-type]
    driver = drivers.input(spec, _LIMITS)
    await driver.open()
    watched = _Watched(driver)
    try:
        yield watched
    finally:
        watched.task.cancel()
        await asyncio.gather(watched.task, return_exceptions=True)
        await driver.close()


async def _refused(work: Awaitable[object]) -> str:
    with pytest.raises(DeviceError) as told:
        async with asyncio.timeout(2):
            await work
    return told.value.message


async def test_outputs_of_a_plc() -> None:
    async with tcp_plc() as (plc, port):
        plc_at = f"tcp://127.0.0.1:{port}/1"
        async with (
            _output(f"{plc_at}/coil/3") as coil,
            _output(f"{plc_at}/coil/4", polarity="active-low") as inverted,
            _output(f"{plc_at}/register/5", on_value=1_200, off_value=7) as register,
        ):
            # Every command arrives once, in its order, and its edge is told after the device had it.
            expected, edges = [], []
            for number in range(150):
                on = number % 2 == 0
                edges += [await coil.set(on, ""), await inverted.set(on, ""), await register.set(on, "")]
                expected += [("coil", 3, on), ("coil", 4, not on), ("register", 5, 1_200 if on else 7)]
            assert [one[:3] for one in plc.written] == expected
            assert all(
                one.at_ns <= edge < one.at_ns + 1_000_000_000 for one, edge in zip(plc.written, edges, strict=True)
            )
            assert plc.connections == 1

            plc.refuses = ExcCodes.ILLEGAL_VALUE
            assert await _refused(coil.set(True, "")) == (
                f"unit 1 at 127.0.0.1:{port}: it does not take this value (exception 3)"
            )
            plc.refuses = None
            assert "no texts" in await _refused(coil.send("x", None))

            # It stands still, and answers a later question with what it owes to an earlier one.
            plc.hangs = True
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await coil.set(True, "")
            plc.hangs = False
            async with asyncio.timeout(2):
                await coil.set(False, "")
            await plc.has(("coil", 3, False))

            # It goes while the output is on, and comes back.
            await coil.set(True, "")
            await plc.vanish()
            await _refused(coil.set(False, ""))
            assert "refused" in await _refused(coil.set(False, "")) or plc.connections == 0
            await plc.serve_tcp(port)
            async with asyncio.timeout(2):
                await coil.set(False, "")
            await plc.has(("coil", 3, False))


async def test_inputs_of_a_plc() -> None:
    async with tcp_plc() as (plc, port):
        plc_at = f"tcp://127.0.0.1:{port}/1"
        async with (
            _input(f"{plc_at}/discrete/3") as contact,
            _input(f"{plc_at}/input-register/100") as count,
            _input(f"{plc_at}/input-register/102?type=int32") as position,
        ):
            await contact.reads(False)
            await count.reads(0)
            await position.reads(0)
            await plc.put("discrete", 3, 1)
            await plc.put("input-register", 100, 65_535)
            await plc.put("input-register", 102, 0xFFFF, 0xFFF0)
            at_ns = time.time_ns()
            await contact.reads(False, True)
            await count.reads(0, 65_535)
            await position.reads(0, -16)
            assert abs(contact.readings[-1].at_ns - at_ns) < 1_000_000_000
            # Both numbers in one request, with what lies between them.
            assert ("input-register", 100, 4) in plc.reads
            assert plc.connections == 1

            # One that is not there fails alone, and takes the gap with it.
            async with _input(f"{plc_at}/input-register/99") as missing:
                with pytest.raises(DeviceError, match="no such coil or register"):
                    await asyncio.wait_for(missing.task, 5)
            await plc.put("input-register", 100, 3)
            await count.reads(0, 65_535, 3)
            assert not position.task.done()

            # While it is polled, commands do not wait behind.
            async with _output(f"{plc_at}/coil/9") as coil:
                for on in (True, False) * 10:
                    await coil.set(on, "")
            await plc.vanish()
            with pytest.raises(DeviceError):
                await asyncio.wait_for(contact.task, 5)


async def _answer(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while request := await reader.read(300):
            writer.write(data.replace(b"??", request[:2]))
            await writer.drain()
    writer.close()


async def _flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"\0" * 10_000)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "says what is no Modbus: 48 54 54 50"),
        (b"??\0\0\0\x03\x01\x7f\0", "says what is no Modbus"),
        (b"??\0\0\0\x06\x01\x01\x01\x01\0\0", "answers another question than was asked"),
        (b"??\0\0\0\x06\x01\x05\0\x04\xff\0", "says that it has written something else"),
        (b"??\0\0\0\x06\x01\x05\0\x03\0\0", "says that it has written something else"),
        (b"??\0\0\0\x02\x01\x05", "says what is no Modbus"),
        (b"??\0\0\0\x03\x01\x85\x63", "it refuses (exception 99)"),
        (b"", "ended the connection"),
    ],
)
async def test_peers_that_say_something_else(said: bytes, told: str) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not said:
            writer.close()
            return
        await _answer(said, reader, writer)

    await _meet(peer, told)


@pytest.mark.parametrize("said", [b"??\0\0\xff\xff\x01\x05\0", b"??", b"ZZ\0\0\0\x06\x01\x05\0\x03\xff\0"])
async def test_peers_that_leave_one_waiting(said: bytes) -> None:
    """A length that never comes, half a frame, and the answer to somebody else's question."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(said, reader, writer)

    await _meet(peer, None)


async def test_a_peer_that_never_stops_talking() -> None:
    await _meet(_flood, "says what is no Modbus")


async def _meet(
    peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], told: str | None
) -> None:
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with _output(f"tcp://127.0.0.1:{port}/1/coil/3") as coil:
            for _ in range(2):  # it is the same the next time
                if told is None:
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await coil.set(True, "")
                else:
                    assert told in await _refused(coil.set(True, ""))
    finally:
        server.close()


async def test_hosts_that_may_not_be_reached() -> None:
    spec = SignalSpec(signal="do1", mode="modbus", address="tcp://127.0.0.1:1/1/coil/3")
    driver = drivers.output(spec, Limits(tcp_allow=("10.0.0.0/8",)))
    with pytest.raises(BadRequest, match="FRAMEMESH_IO_SIGNAL_TCP_ALLOW"):
        await driver.open()
    await driver.close()


async def test_a_plc_on_a_serial_line() -> None:
    with serial_pair() as pair:
        plc, where = Plc(), f"rtu://{pair.near}/1"
        await plc.serve_serial(pair.far)
        try:
            async with (
                _output(f"{where}/coil/3?parity=none") as coil,
                _input(f"{where}/register/101?parity=none&type=int16") as number,
            ):
                await number.reads(0)
                for on in (True, False) * 20:
                    await coil.set(on, "")
                assert [one.value for one in plc.written] == [1, 0] * 20
                await plc.put("register", 101, 0xFFFE)
                await number.reads(0, -2)

                with pytest.raises(DeviceError, match="give all of its users the same"):
                    drivers.output(SignalSpec(signal="do2", mode="modbus", address=f"{where}/coil/4"), _LIMITS)
                async with _output(f"rtu://{pair.near}/9/coil/3?parity=none") as nobody:
                    assert "unit 9" in await _refused(nobody.set(True, ""))

                pair.carries = False  # the cable is cut
                with pytest.raises(DeviceError, match="does not answer"):
                    await asyncio.wait_for(number.task, 5)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await coil.set(True, "")
                pair.carries = True
                async with asyncio.timeout(2):
                    await coil.set(True, "")
                await plc.has(("coil", 3, 1))

                pair.unplug()
                assert "unplugged" in await _refused(coil.set(False, ""))
                assert "there is no such device" in await _refused(coil.set(False, ""))
        finally:
            await plc.vanish()

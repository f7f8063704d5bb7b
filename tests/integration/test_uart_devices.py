"""Texts to devices on serial lines, their answers and their own lines: pseudo-terminals with a program behind them."""

import asyncio
import time

import pytest

from schemas.signal_resources import InputSpec, SignalSpec
from services.io_signal.hand import drivers
from services.io_signal.hand.drivers.base import DeviceError, Limits, Reading
from tests.support.pace import patience
from tests.support.serial_pair import serial_peer

_LIMITS = Limits()
_IN_THE_OTHER_END_BYTES = 2 * 4_096  # what a pseudo-terminal has handed over cannot be taken back


def _signal(address: str, **fields: object) -> SignalSpec:
    return SignalSpec(signal="do1", mode="uart", address=address, **fields)  # type: ignore[arg-type]


async def test_texts_go_out_in_order_and_answers_are_awaited() -> None:
    with serial_peer() as peer:
        address = f"uart://{peer.device}?baud=115200"
        plain = drivers.output(_signal(address), _LIMITS)
        answered = drivers.output(_signal(address, reply="^OK [0-9]+"), _LIMITS)
        at_ns = time.time_ns()
        edges = [await plain.set(number % 2 == 0, f"{number}\n") for number in range(200)]
        await peer.hears(b"199\n")
        assert peer.heard == b"".join(b"%d\n" % number for number in range(200))
        assert at_ns < edges[0]
        assert edges == sorted(edges)

        peer.answers[b"ON\n"] = b"OK 7\r\n"
        async with patience(5):
            await answered.set(True, "ON\n")
        peer.answers[b"ON\n"] = b"ERR\r\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await answered.set(True, "ON\n")
        # What came too late is no answer to what is asked next.
        peer.say(b"OK 8\r\n")
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await answered.set(True, "ON\n")
        # Bytes that are no text go out as they are.
        await plain.set(True, "\x02\udcff\x03")
        await peer.hears(b"\x02\xff\x03")
        peer.answers[b"?\n"] = b"x" * 5_000
        with pytest.raises(DeviceError, match="nothing that matches"):
            async with patience(5):
                await answered.set(True, "?\n")
        await plain.close()
        await answered.close()


async def test_nobody_else_has_the_device() -> None:
    with serial_peer() as peer:
        first = drivers.output(_signal(f"uart://{peer.device}"), _LIMITS)
        await first.open()
        with pytest.raises(DeviceError, match="give all of its users the same"):
            drivers.output(_signal(f"uart://{peer.device}?baud=115200"), _LIMITS)
        other = drivers.output(_signal(f"uart:///proc/self/root{peer.device}"), _LIMITS)
        with pytest.raises(DeviceError, match="another program has it"):
            await other.open()
        await first.close()
        await other.open()
        await other.close()


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("/dev/null", "is no serial device"),
        ("/dev/tty", "is no serial device"),
        ("/dev/shm", "is no serial device"),
        ("/dev/framemesh-none", "there is no such device"),
        ("/etc/hostname", "FRAMEMESH_IO_SIGNAL_SERIAL_ROOTS"),
    ],
)
async def test_what_is_no_serial_device_is_not_opened(device: str, told: str) -> None:
    driver = drivers.output(_signal(f"uart://{device}"), _LIMITS)
    with pytest.raises(DeviceError, match=told):
        await driver.open()
    await driver.close()


async def test_a_line_that_stands_still_sends_nothing_later() -> None:
    """The other end takes nothing: the text that was given up must not come out once it does."""
    with serial_peer() as peer:
        peer.pause()
        driver = drivers.output(_signal(f"uart://{peer.device}?baud=115200"), _LIMITS)
        await driver.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await driver.set(True, "ON" * 100_000)
        peer.go_on()
        await driver.set(False, "OFF\n")
        await peer.hears(b"OFF\n")
        assert len(peer.heard) <= _IN_THE_OTHER_END_BYTES
        await driver.close()


async def test_lines_that_a_device_sends() -> None:
    with serial_peer() as peer:
        driver = drivers.input(InputSpec(input="di1", mode="uart", address=f"uart://{peer.device}"), _LIMITS)
        # The same line takes commands meanwhile.
        output = drivers.output(_signal(f"uart://{peer.device}"), _LIMITS)
        readings: list[Reading] = []
        came = asyncio.Event()

        def take(reading: Reading) -> None:
            readings.append(reading)
            came.set()

        await driver.open()
        task = asyncio.ensure_future(driver.run(take))
        await asyncio.sleep(0)
        at_ns = time.time_ns()
        peer.say(b"part ")
        await asyncio.sleep(0.02)
        peer.say(b"17\r\n\r\n" + b"x" * 1_100 + b"\nnext\xff\n")
        async with patience(5):
            while len(readings) < 2:
                came.clear()
                await came.wait()
        assert [one.value for one in readings] == ["part 17", "next\ufffd"]
        assert at_ns < readings[0].at_ns < time.time_ns()
        assert driver.left_out == {"too-long": 1}  # type: ignore[attr-defined]
        await output.set(True, "ON\n")
        await peer.hears(b"ON\n")

        peer.unplug()
        with pytest.raises(DeviceError, match="unplugged"):
            await asyncio.wait_for(task, 5)
        with pytest.raises(DeviceError, match="there is no such device"):
            await output.set(False, "OFF\n")
        await driver.close()
        await output.close()

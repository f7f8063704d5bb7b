"""Inputs of PLCs and serial lines, from the device to what the hand tells."""

import pytest

from tests.support.listening import listening
from tests.support.modbus_plc import tcp_plc
from tests.support.serial_pair import serial_peer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


async def test_a_coil_tells_how_it_is_and_then_of_its_changes() -> None:
    async with tcp_plc() as (device, port), listening() as inputs:
        address = f"tcp://127.0.0.1:{port}/1/coil/3"
        await device.put("coil", 3, 1)
        await inputs.set_up(mode="modbus", address=address, poll="5ms", polarity="active-low", edge="falling")
        first = (await inputs.until(1))[0]
        assert (first.value, first.edge, first.clock) == (False, False, "arrival")
        await device.put("coil", 3, 0)
        await inputs.until(2)
        await device.put("coil", 3, 1)
        told = await inputs.until(3)
        assert [(one.value, one.edge) for one in told] == [(False, False), (True, False), (False, True)]


async def test_a_coil_that_changed_while_its_plc_was_away_is_told_of_when_it_is_back() -> None:
    async with tcp_plc() as (device, port), listening() as inputs:
        await inputs.set_up(mode="modbus", address=f"tcp://127.0.0.1:{port}/1/coil/3", poll="5ms", debounce="10ms")
        await inputs.until(1)
        await device.vanish()
        failed = await inputs.until_state("failed")
        assert failed.error is not None
        assert failed.error.code == 503
        await device.serve_tcp(port)
        await device.put("coil", 3, 1)
        await inputs.until_state("active")
        assert [(one.value, one.edge) for one in await inputs.until(2)] == [(False, False), (True, True)]


async def test_a_register_is_a_number_and_only_its_changes_are_events() -> None:
    async with tcp_plc() as (device, port), listening() as inputs:
        address = f"tcp://127.0.0.1:{port}/1/register/12"
        await device.put("register", 12, 7)
        await inputs.set_up(mode="modbus", address=address, value="number", poll="5ms")
        await inputs.until(1)
        await device.put("register", 12, 8)
        assert [(one.value, one.edge) for one in await inputs.until(2)] == [(7, False), (8, True)]


async def test_lines_of_a_serial_device_are_numbers() -> None:
    async with listening() as inputs:
        with serial_peer() as device:
            address = f"uart://{device.device}?baud=115200"
            await inputs.set_up(mode="uart", address=address, value="number", pattern="^POS (?P<value>[0-9]+)$")
            await inputs.until_state("active")
            device.say(b"POS 1\nhello\nPOS 2\n")
            assert [(one.value, one.clock) for one in await inputs.until(2)] == [(1, "arrival"), (2, "arrival")]
            assert await inputs.until_left_out("no-match") == 1

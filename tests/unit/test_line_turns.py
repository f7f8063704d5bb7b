"""Lines that carry one exchange at a time: who is next, and what comes in pieces."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.io_signal.hand.drivers.lines import LineSplitter
from services.io_signal.hand.drivers.modbus_tables import Range, ranges, value_of
from services.io_signal.hand.drivers.sharing import Shared
from services.io_signal.hand.drivers.turns import Turns
from services.io_signal.signals.addresses import ModbusAddress, NumberType, Table, TcpAddress

_PLC = TcpAddress("plc", 502)


async def test_commands_go_before_polls_and_in_their_order() -> None:
    turns, done = Turns(), []

    async def use(name: str, command: bool) -> None:
        async with turns.turn(command):
            await asyncio.sleep(0)
            done.append(name)

    wanted = (("first poll", False), ("poll", False), ("on", True), ("late poll", False), ("off", True))
    await asyncio.gather(*(use(*one) for one in wanted))
    assert done == ["first poll", "on", "off", "poll", "late poll"]


async def test_who_gives_up_holds_up_nobody() -> None:
    turns, done = Turns(), asyncio.Event()
    held = turns.turn(command=True)
    await held.__aenter__()

    async def use() -> None:
        async with turns.turn(command=True):
            done.set()

    waiting, impatient = asyncio.create_task(use()), asyncio.create_task(use())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    await asyncio.wait_for(impatient, 1)
    # And one who was given the turn in the moment in which it gave up.
    await held_again(turns, use, done)


async def held_again(turns: Turns, use: "object", done: asyncio.Event) -> None:
    done.clear()
    held = turns.turn(command=False)
    await held.__aenter__()
    first, second = (asyncio.create_task(use()) for _ in range(2))  # type: ignore[operator]
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert done.is_set()


async def test_what_is_shared_is_closed_by_the_last() -> None:
    class Thing:
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    shared: Shared[Thing] = Shared()
    thing = shared.take("a", Thing)
    assert shared.take("a", Thing) is thing
    await shared.leave("a")
    assert not thing.closed
    await shared.leave("a")
    assert thing.closed == 1
    assert shared.find("a") is None


@given(st.lists(st.binary(max_size=30)))
def test_lines_are_the_same_however_they_are_cut(pieces: list[bytes]) -> None:
    splitter, whole = LineSplitter(20), b"".join(pieces) + b"\n"
    found = [line for piece in (*pieces, b"\n") for line in splitter.take(piece)]
    lines = [line for line in whole.replace(b"\r", b"\n").split(b"\n") if line]
    assert found == [line.decode(errors="replace") for line in lines if len(line) <= 20]
    assert splitter.too_long == sum(len(line) > 20 for line in lines)


def _at(table: Table, number: int, type_: NumberType = "uint16", low_word_first: bool = False) -> ModbusAddress:
    return ModbusAddress(_PLC, 1, table, number, type_, low_word_first)


def test_what_lies_side_by_side_is_read_at_once() -> None:
    wanted = [_at("register", 4, "int32"), _at("register", 0), _at("register", 9), _at("coil", 0), _at("register", 40)]
    assert ranges(wanted) == [
        Range("coil", 1, 0, 1),
        Range("register", 1, 0, 10),
        Range("register", 1, 40, 1),
    ]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_every_number_is_read_within_what_a_device_allows(numbers: list[int]) -> None:
    wanted = [_at("register", number, "uint32" if number % 3 else "uint16") for number in numbers]
    found = ranges(wanted)
    assert all(sum(one.holds(address) for one in found) >= 1 for address in wanted)
    assert all(one.count <= 125 for one in found)


@pytest.mark.parametrize(
    ("type_", "low_word_first", "words", "value"),
    [
        ("uint16", False, [65_535], 65_535),
        ("int16", False, [65_535], -1),
        ("uint32", False, [1, 2], 65_538),
        ("uint32", True, [2, 1], 65_538),
        ("int32", False, [65_535, 65_534], -2),
        ("float32", False, [0x3DCC, 0xCCCD], 0.1),
    ],
)
def test_numbers_of_registers(type_: NumberType, low_word_first: bool, words: list[int], value: float) -> None:
    assert value_of(_at("register", 0, type_, low_word_first), words) == value

"""The hand as it is told: what comes at once, what is not there, a bus that is away, and its end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.signal_resources import SignalSpec
from services.io_signal.hand.drivers.base import Limits
from services.io_signal.hand.hand import Hand
from services.io_signal.hand.keep_marks import KeepMarks
from services.io_signal.hand.protocol import (
    AllSafe,
    Done,
    FromHand,
    LetGo,
    Output,
    Ping,
    Pong,
    Send,
    SetUp,
    Setup,
    Switch,
    ToHand,
    WriteFile,
    line,
    read_by_hand,
)
from tests.support.pace import patience

pytestmark = pytest.mark.unit


class Told:
    """A hand, what it says, and its control files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.heard = folder, list[FromHand]()
        self.hand = Hand(Limits(file_roots=(folder,)), self.heard.append, KeepMarks(folder, "test"))
        self.number = 0

    def spec(self, signal: str, file: str | None = None, **fields: Any) -> SignalSpec:
        path = self.folder / (file or signal)
        path.touch()
        return SignalSpec(signal=signal, mode="io", address=f"file://{path}", **fields)

    def text(self, file: str) -> str:
        return (self.folder / file).read_text()

    def tell(self, make: Callable[[int], ToHand]) -> int:
        self.number += 1
        self.hand.take(read_by_hand(line(make(self.number))))
        return self.number

    async def ask(self, make: Callable[[int], ToHand]) -> Done:
        return await self.answer(self.tell(make))

    async def answer(self, number: int) -> Done:
        def found() -> Done | None:
            return next((one for one in self.heard if isinstance(one, Done) and one.number == number), None)

        await self.until(lambda: found() is not None)
        done = found()
        assert done is not None
        return done

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with patience(5):
            while not is_so():
                await asyncio.sleep(0.002)


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    rig = Told(tmp_path)
    yield rig
    await rig.hand.close()


def code(done: Done) -> int:
    return done.error.code if done.error is not None else 200


async def test_of_two_set_ups_at_once_one_output_is_left(told: Told) -> None:
    first, second = told.spec("do1", "a"), told.spec("do1", "b")
    numbers = [told.tell(lambda n, spec=spec: SetUp(number=n, spec=spec)) for spec in (first, second)]  # type: ignore[misc]
    for number in numbers:
        assert code(await told.answer(number)) == 200
    assert code(await told.ask(lambda n: Switch(number=n, signal="do1", on=True))) == 200
    assert (told.text("a"), told.text("b")) == ("0", "1")
    workers = [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "output do1"]
    assert len(workers) == 1


async def test_what_is_not_there_is_no_riddle(told: Told) -> None:
    for make, expected in (
        (lambda n: Switch(number=n, signal="do9", on=True), 503),
        (lambda n: Send(number=n, signal="do9", text="x"), 503),
        (lambda n: LetGo(number=n, signal="do9"), 503),
        (lambda n: WriteFile(number=n, file="/etc/hosts", text="x"), 400),
        (lambda n: WriteFile(number=n, file="relative", text="x"), 400),
        (lambda n: Send(number=n, host="8.8.8.8", port=53, text="x"), 400),
        (lambda n: Send(number=n, host="127.0.0.1", port=1, text="x"), 503),
        (lambda n: Send(number=n, host="127.0.0.1", port=1, text="x", reply="("), 400),
        (lambda n: SetUp(number=n, spec=SignalSpec(signal="x", mode="tcp", address="nowhere")), 400),
    ):
        done = await told.ask(make)
        assert code(done) == expected, done
    told.tell(lambda n: Ping(number=77, bus=True))
    assert Pong(number=77) in told.heard, "it goes on"


async def test_a_bus_that_is_away_for_too_long_makes_all_safe_once(told: Told) -> None:
    for spec in (told.spec("short", bus_lost="100ms"), told.spec("long", bus_lost="1h")):
        await told.ask(lambda n, spec=spec: SetUp(number=n, spec=spec))  # type: ignore[misc]
        await told.ask(lambda n, spec=spec: Switch(number=n, signal=spec.signal, on=True))  # type: ignore[misc]

    def lost() -> int:
        return sum(isinstance(one, Output) and one.cause == "bus-lost" and one.changed for one in told.heard)

    await told.until(lambda: told.text("short") == "0")
    told.tell(lambda n: Ping(number=n, bus=False))  # the service is there, the bus is not
    await asyncio.sleep(0.5)  # two looks
    assert (lost(), told.text("long")) == (1, "1")
    told.tell(lambda n: Ping(number=n, bus=True))
    assert code(await told.ask(lambda n: Switch(number=n, signal="short", on=True))) == 200
    assert told.text("short") == "1"


async def test_off_mode_holds_for_outputs_that_come_later(told: Told) -> None:
    await told.ask(lambda n: SetUp(number=n, spec=told.spec("do1")))
    await told.ask(lambda n: Switch(number=n, signal="do1", on=True))
    done = await told.ask(lambda n: AllSafe(number=n, active=True, by="me", why="repair"))
    assert done.signals == ("do1",)
    await told.ask(lambda n: SetUp(number=n, spec=told.spec("do2", initial="on")))
    for name in ("do1", "do2"):
        assert code(await told.ask(lambda n, name=name: Switch(number=n, signal=name, on=True))) == 409  # type: ignore[misc]
    assert (told.text("do1"), told.text("do2")) == ("0", "0")
    await told.ask(lambda n: AllSafe(number=n, active=False))
    assert code(await told.ask(lambda n: Switch(number=n, signal="do2", on=True))) == 200


async def test_its_end_makes_all_safe_and_takes_nothing_more(tmp_path: Path) -> None:
    told = Told(tmp_path)
    for name in ("do1", "do2"):
        await told.ask(lambda n, name=name: SetUp(number=n, spec=told.spec(name)))  # type: ignore[misc]
        await told.ask(lambda n, name=name: Switch(number=n, signal=name, on=True))  # type: ignore[misc]
    told.tell(lambda n: SetUp(number=n, spec=told.spec("late", initial="on")))
    ending = asyncio.create_task(told.hand.close())
    await asyncio.sleep(0)
    late = told.tell(lambda n: Switch(number=n, signal="do1", on=True))
    await ending
    assert [told.text(name) for name in ("do1", "do2", "late")] == ["0", "0", ""]
    assert (await told.answer(late)).number == late, "whoever waits is told something"
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("output")] == []


def test_what_is_said_is_read_as_it_was_meant() -> None:
    setup = Setup(node="edge1", lock="/x", limits=Limits(file_roots=(Path("/run/io"),), tcp_allow=("plc",)))
    assert read_by_hand(line(setup)) == setup
    text = '\x00\n"é\U0001f600' * 1_000
    send = Send(number=1, signal="do1", text=text)
    assert read_by_hand(line(send)) == send
    assert line(send).count(b"\n") == 1


async def test_off_mode_says_which_outputs_do_not_follow(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.io_signal.hand.hand._SAFE_SECONDS", 0.1)
    for name in ("do1", "gone"):
        await told.ask(lambda n, name=name: SetUp(number=n, spec=told.spec(name)))  # type: ignore[misc]
        await told.ask(lambda n, name=name: Switch(number=n, signal=name, on=True))  # type: ignore[misc]
    (told.folder / "gone").unlink()
    done = await told.ask(lambda n: AllSafe(number=n, active=True))
    assert done.error is not None
    assert done.error.message.endswith("tried again: gone")
    assert told.text("do1") == "0"
    (told.folder / "gone").touch()
    await told.until(lambda: told.text("gone") == "0")

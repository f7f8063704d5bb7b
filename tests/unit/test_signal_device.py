"""The worker of one output: order, queue, tries, keep time and safe states, with a device that does what is wanted."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from schemas.signal_resources import Retrigger, SignalSpec
from services.io_signal.hand import device as device_module
from services.io_signal.hand.device import OutputDevice
from services.io_signal.hand.drivers.base import DeviceError
from services.io_signal.hand.keep_marks import KeepMarks
from services.io_signal.hand.protocol import Done, Output, Send, Switch
from services.io_signal.patterns import Pattern
from tests.support.pace import patience

pytestmark = pytest.mark.unit

LONG_MS = 60_000


@dataclass
class Device:
    """An output that notes what it was told; `refuses` so many tries, and stands still while `goes_on` is not set."""

    told: list[str] = field(default_factory=list)
    refuses: int = 0
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    def __post_init__(self) -> None:
        self.goes_on.set()

    async def open(self) -> None: ...

    async def set(self, on: bool, text: str) -> int:
        await self.goes_on.wait()
        if self.refuses:
            self.refuses -= 1
            raise DeviceError("it refuses")
        self.told.append(text)
        return time.time_ns()

    async def send(self, text: str, reply: Pattern | None) -> str:
        self.told.append(text)
        return "answer"

    async def close(self) -> None:
        self.closed = True


class Bench:
    """One output at work."""

    def __init__(self, marks: KeepMarks | None = None, **fields: Any) -> None:
        fields = {"on_text": "on{sequence}", "off_text": "off", **fields}
        self.spec = SignalSpec(signal="do1", mode="tcp", address="tcp://127.0.0.1:1", **fields)
        self.device, self.heard = Device(), list[Output]()
        self.output = OutputDevice(
            self.spec, self.device, self.heard.append, marks or KeepMarks(Path("/nowhere"), "test")
        )

    async def __aenter__(self) -> "Bench":
        self.output.start(locked=False)
        if self.spec.safe != "hold":
            await self.until(lambda: self.output.state.known)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.output.close()

    def on(self, keep_ms: int | None = None, sequence: int | None = None, **fields: Any) -> Awaitable[Done]:
        return self.output.submit(Switch(number=1, signal="do1", on=True, keep_ms=keep_ms, sequence=sequence, **fields))

    def off(self) -> Awaitable[Done]:
        return self.output.submit(Switch(number=1, signal="do1", on=False))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with patience(5):
            while not is_so():
                await asyncio.sleep(0.001)


async def test_the_safe_state_comes_first_then_the_initial_one() -> None:
    async with Bench(initial="on") as bench:
        await bench.until(lambda: bench.output.state.on)
        assert bench.device.told == ["off", "on"]
        assert [one.cause for one in bench.heard if one.changed] == ["start", "command"]
    assert bench.device.closed


async def test_an_output_that_is_held_is_left_as_it_is() -> None:
    async with Bench(safe="hold") as bench:
        assert not bench.output.make_safe("bus-lost")
        await bench.on()
        assert bench.device.told == ["on"]
        bench.output.make_safe("bus-lost")
        assert bench.output.is_safe.is_set(), "steadily on: it is held"
        await bench.on(LONG_MS)
        bench.output.make_safe("end")
        await bench.until(bench.output.is_safe.is_set)
        assert bench.device.told[-1] == "off", "within a keep time: it must not stay on"


async def test_one_that_was_lost_within_a_keep_time_is_cleared(tmp_path: Path) -> None:
    marks = KeepMarks(tmp_path, "test")
    async with Bench(marks, safe="hold") as killed:
        await killed.on(LONG_MS)
    async with Bench(marks, safe="hold") as bench:
        await bench.until(lambda: bench.device.told == ["off"])
        await bench.on(0)
    async with Bench(marks, safe="hold") as steady:
        await asyncio.sleep(0.01)
        assert steady.device.told == [], "it was on without a keep time"
    assert not marks.is_set("do1")


async def test_commands_are_done_in_order_and_none_is_lost() -> None:
    async with Bench(queue=500) as bench:
        answers = [bench.on(0, number) if number % 3 else bench.off() for number in range(500)]
        done = await asyncio.gather(*answers)
        assert all(one.error is None for one in done)
        assert bench.device.told[1:] == [f"on{number}" if number % 3 else "off" for number in range(500)]
        edges = [one.edge_ns for one in done]
        assert edges == sorted(edges)


async def test_a_full_queue_refuses_at_once() -> None:
    async with Bench(queue=2, timeout="3s") as bench:
        bench.device.goes_on.clear()
        first = bench.on()
        await bench.until(lambda: not bench.output._queue)  # it is being done
        waiting = [bench.on(), bench.on()]
        refused = await bench.on()
        assert refused.error is not None
        assert refused.error.code == 429
        assert "queue" in refused.error.message
        bench.device.goes_on.set()
        assert all(one.error is None for one in await asyncio.gather(first, *waiting))


async def test_a_keep_time_ends_and_is_told_with_who_and_why() -> None:
    async with Bench(keep="20ms", type="ng") as bench:
        done = await bench.on(by="me", why="scratch")
        assert done.until_ns - done.edge_ns == 20_000_000
        await bench.until(lambda: not bench.output.state.on)
        last = bench.heard[-1]
        assert (last.cause, last.by, last.why, last.until_ns) == ("keep", "me", "scratch", 0)
        assert last.edge_ns >= done.until_ns
        assert bench.heard[-2].kind == "ng"


async def test_a_command_without_a_keep_time_ends_the_one_before() -> None:
    async with Bench() as bench:
        await bench.on(20)
        assert (await bench.on(0)).until_ns == 0
        await asyncio.sleep(0.04)  # twice what it would have been on
        assert bench.output.state.on


@pytest.mark.parametrize(
    ("retrigger", "told"),
    [("extend", ["on1", "on2", "off"]), ("ignore", ["on1", "off"]), ("queue", ["on1", "off", "on2", "off"])],
)
async def test_what_on_does_while_it_is_on(retrigger: Retrigger, told: list[str]) -> None:
    async with Bench(retrigger=retrigger, keep="50ms") as bench:
        first = await bench.on(sequence=1)
        second = await bench.on(sequence=2)
        assert second.error is None
        assert (second.until_ns > first.until_ns) == (retrigger != "ignore")
        await bench.until(lambda: len(bench.device.told) == 1 + len(told) and not bench.output.state.on)
        assert bench.device.told == ["off", *told]


async def test_an_off_clears_pulses_that_wait() -> None:
    async with Bench(retrigger="queue") as bench:
        await bench.on(LONG_MS)
        waiting = [bench.on(LONG_MS), bench.on(LONG_MS)]
        await asyncio.sleep(0)
        assert (await bench.off()).error is None
        assert [one.error.code for one in await asyncio.gather(*waiting) if one.error] == [409, 409]
        assert bench.device.told == ["off", "on", "off"]


async def test_a_device_that_refuses_once_is_tried_again() -> None:
    async with Bench() as bench:
        bench.device.refuses = 2
        assert (await bench.on()).error is None
        assert (bench.heard[-1].retries, bench.heard[-1].error) == (2, None)


async def test_a_command_that_failed_may_have_been_done_and_is_taken_back() -> None:
    async with Bench() as bench:
        bench.device.refuses = 5  # three tries of the command, two of what is owed
        done = await bench.on()
        assert done.error is not None
        assert (done.error.code, done.error.message) == (503, "it refuses")
        assert bench.output.state.error == done.error, "it is seen"
        await bench.until(lambda: bench.output.state.error is None)
        assert bench.device.told == ["off", "off"]
        assert bench.heard[-1].cause == "failed"


async def test_a_device_that_hangs_is_given_up_and_made_safe_when_it_is_back() -> None:
    async with Bench(timeout="20ms", retries=1) as bench:
        await bench.on(LONG_MS)
        bench.device.goes_on.clear()
        done = await bench.off()
        assert done.error is not None
        assert "20ms" in done.error.message
        assert bench.output.state.on, "as far as anybody knows"
        bench.device.goes_on.set()
        await bench.until(lambda: not bench.output.state.on)


async def test_a_pulse_whose_device_is_away_at_its_end_ends_when_it_is_back() -> None:
    async with Bench(timeout="20ms") as bench:
        await bench.on(30)
        bench.device.refuses = 4
        await bench.until(lambda: not bench.output.state.on)
        assert bench.heard[-1].cause == "keep"


async def test_a_command_that_waited_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_STALE_SECONDS", 0.05)
    async with Bench(timeout="200ms", retries=0) as bench:
        bench.device.goes_on.clear()
        first, late = bench.on(), bench.on()
        assert (await first).error is not None
        bench.device.goes_on.set()
        error = (await late).error
        assert error is not None
        assert "left out" in error.message


async def test_off_mode_clears_and_keeps_clear() -> None:
    async with Bench(timeout="1s") as bench:
        await bench.on()
        bench.device.goes_on.clear()
        doing, waiting = bench.off(), bench.on()
        await bench.until(lambda: len(bench.output._queue) == 1)
        assert bench.output.lock("me", "maintenance")
        assert (error := (await waiting).error)
        assert error.code == 409
        bench.device.goes_on.set()
        await doing
        assert (error := (await bench.on()).error)
        assert error.code == 409
        assert (await bench.off()).error is None
        bench.output.unlock()
        assert (await bench.on()).error is None


async def test_a_safe_state_does_not_wait_for_the_tries_of_an_on() -> None:
    async with Bench(retries=10) as bench:
        bench.device.refuses = 3
        waiting = bench.on()
        await bench.until(lambda: bench.device.refuses < 3)
        bench.output.make_safe("bus-lost")
        assert (await waiting).error is not None
        await bench.until(bench.output.is_safe.is_set)
        assert bench.device.told == ["off", "off"]


async def test_texts_keep_their_place_between_commands() -> None:
    async with Bench() as bench:
        done = await asyncio.gather(
            bench.on(), bench.output.submit(Send(number=2, signal="do1", text="between", reply=None)), bench.off()
        )
        assert bench.device.told == ["off", "on", "between", "off"]
        assert done[1].reply == "answer"


async def test_what_does_not_touch_the_device_is_taken_on_while_it_is_on() -> None:
    async with Bench() as bench:
        await bench.on()
        spec = SignalSpec(
            **{**{name: getattr(bench.spec, name) for name in bench.spec.__struct_fields__}, "keep": "1s"}
        )
        assert bench.output.change(spec)
        assert bench.device.told == ["off", "on"]
        assert not bench.output.change(SignalSpec(signal="do1", mode="tcp", address="tcp://127.0.0.1:2"))


async def test_who_waits_is_told_when_the_output_is_taken_away() -> None:
    async with Bench(timeout="3s") as bench:
        bench.device.goes_on.clear()
        doing, waiting = bench.on(), bench.on()
        await bench.until(lambda: len(bench.output._queue) == 1)
        await bench.output.close()
        errors = [one.error.code for one in await asyncio.gather(doing, waiting) if one.error]
        assert errors == [503, 503]


async def test_an_on_that_the_device_takes_late_does_not_outlive_a_safe_state() -> None:
    async with Bench(timeout="3s") as bench:
        bench.device.goes_on.clear()
        late, waiting = bench.on(LONG_MS), bench.on()
        await bench.until(lambda: len(bench.output._queue) == 1)
        bench.output.make_safe("end")
        assert (error := (await waiting).error)
        assert "safe state" in error.message
        bench.device.goes_on.set()
        assert (await late).error is None
        await bench.until(bench.output.is_safe.is_set)
        assert bench.device.told == ["off", "on", "off"]
        assert (await bench.on()).error is not None, "it ends"


async def test_a_keep_time_that_ends_while_it_is_renewed_goes_on() -> None:
    async with Bench(timeout="3s") as bench:
        await bench.on(30)
        bench.device.goes_on.clear()
        renewed = bench.on(LONG_MS)
        await asyncio.sleep(0.06)  # its keep time is over by then
        bench.device.goes_on.set()
        assert (await renewed).until_ns
        await asyncio.sleep(0.02)
        assert bench.device.told == ["off", "on", "on"]


async def test_an_off_is_done_however_long_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_STALE_SECONDS", 0.02)
    async with Bench(timeout="60ms", retries=0) as bench:
        await bench.on(0)
        bench.device.goes_on.clear()
        first, late = bench.on(0), bench.off()
        assert (await first).error is not None
        bench.device.goes_on.set()
        assert (await late).error is None
        assert bench.device.told[-1] == "off"

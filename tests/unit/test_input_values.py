"""What inputs deliver, and what becomes of it before it is told: values, bounces, what is too fast."""

import time

import pytest

from schemas.errors import InvalidValue
from schemas.signal_resources import EventDetail, InputSpec, InputValue
from services.io_signal.hand.drivers.base import Reading
from services.io_signal.hand.inputs.debounce import Debounce, Level
from services.io_signal.hand.inputs.interpreting import Interpreter
from services.io_signal.hand.inputs.pace import Pace
from tests.support.virtual_timers import VirtualTimers

MS = 1_000_000


def interpreted(value: InputValue, given: bool | float | int | str, **fields: str) -> EventDetail:
    spec = InputSpec(input="di1", mode="tcp", address="tcp://127.0.0.1:0", value=value, **fields)  # type: ignore[arg-type]
    return Interpreter(spec).value(Reading(given, 0, "arrival"))


@pytest.mark.parametrize(
    ("given", "level"),
    [("1", True), ("ON", True), (" high ", True), ("0", False), ("off", False), ("No", False), ("maybe", None),
     ("", None), ("01", None), (7, True), (0, False), (0.0, False), (True, True)],
)  # fmt: skip
def test_levels(given: bool | float | int | str, level: bool | None) -> None:
    assert interpreted("level", given) is level
    inverted = interpreted("level", given, polarity="active-low")
    assert inverted is (None if level is None else not level)


@pytest.mark.parametrize(
    ("given", "number"),
    [("12", 12), ("-7", -7), ("+3", 3), ("1.5", 1.5), (".5", 0.5), ("2e3", 2000.0), (True, 1), (4.25, 4.25),
     ("9" * 19, None), ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None), ("1e999", None),
     ("nan", None), ("0x10", None), ("1_000", None), ("١", None), ("", None), (float("inf"), None), ("9" * 1000, None)],
)  # fmt: skip
def test_numbers(given: bool | float | int | str, number: float | None) -> None:
    found = interpreted("number", given)
    assert (found, type(found)) == (number, type(number))


def test_a_pattern_takes_out_what_its_group_names() -> None:
    pattern = r"^POS=(?P<value>-?[0-9]+);"
    assert interpreted("number", "POS=-42; ok", pattern=pattern) == -42
    assert interpreted("number", "xPOS=-42;", pattern=pattern) is None
    assert interpreted("text", "a READY b", pattern="READY|BUSY") == "READY"
    assert interpreted("number", "no group there", pattern="(?P<value>[0-9]+)?") is None


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "(a{1000}){1000}"])
def test_a_pattern_that_is_none_is_refused_with_the_reason(pattern: str) -> None:
    with pytest.raises(InvalidValue, match=r"pattern .*regular expression") as refused:
        interpreted("text", "x", pattern=pattern)
    assert refused.value.code == 400


def test_no_pattern_takes_long() -> None:
    began = time.process_time()
    assert interpreted("text", "a" * 1_000 + "b", pattern="^(a+)+$") is None  # 2^1000 ways for one that tries them all
    assert time.process_time() - began < 0.5


# -- bounces ---------------------------------------------------------------------------------------------------


class Bouncing:
    def __init__(self, seconds: float) -> None:
        self.timers, self.passed, self.bounces = VirtualTimers(), list[tuple[bool, int]](), 0
        self.debounce = Debounce(seconds, self._pass, self.timers.call_later, self._bounced)

    def _pass(self, level: Level) -> None:
        self.passed.append((level.on, level.at_ns // MS))

    def _bounced(self) -> None:
        self.bounces += 1

    def at(self, at_ms: int, on: bool, *, arrives_ms: int | None = None) -> None:
        self.timers.run_until((at_ms if arrives_ms is None else arrives_ms) / 1_000)
        self.debounce.take(Level(on, at_ms * MS, "kernel"))


def test_a_contact_that_bounces_closes_once_when_it_has_settled() -> None:
    contact = Bouncing(0.005)
    contact.debounce.known(False)
    for at_ms, on in ((10, True), (11, False), (12, True), (13, False), (14, True)):
        contact.at(at_ms, on)
    assert contact.passed == []
    contact.timers.run_until(0.0191)
    assert (contact.passed, contact.bounces) == ([(True, 14)], 2)
    contact.at(100, False)
    contact.at(103, True)
    contact.timers.run_until(0.2)
    assert (contact.passed, contact.bounces) == ([(True, 14)], 3)


def test_what_comes_late_is_judged_by_its_own_instants() -> None:
    contact = Bouncing(0.005)
    for at_ms, on in ((10, True), (20, False), (21, True), (40, False)):
        contact.at(at_ms, on, arrives_ms=41)
    contact.timers.run_until(0.1)
    assert (contact.passed, contact.bounces) == ([(True, 10), (False, 40)], 1)


def test_without_debounce_every_change_passes_at_once_and_repeats_do_not() -> None:
    contact = Bouncing(0.0)
    for at_ms, on in ((1, True), (2, True), (3, False), (4, True)):
        contact.at(at_ms, on)
    assert contact.passed == [(True, 1), (False, 3), (True, 4)]


# -- what is too fast ------------------------------------------------------------------------------------------


def test_of_what_is_too_fast_the_newest_is_told_and_the_rest_is_counted() -> None:
    timers, passed, left_out = VirtualTimers(), list[int](), list[int]()
    pace: Pace[int] = Pace(
        passed.append, lambda: left_out.append(1), timers.now, timers.call_later, most_per_second=10, burst=3
    )
    for number in range(20):
        pace.take(number)
    assert (passed, len(left_out)) == ([0, 1, 2], 16)
    timers.run_until(0.101)
    assert passed == [0, 1, 2, 19]
    timers.run_until(1.0)
    pace.take(20)
    assert passed == [0, 1, 2, 19, 20]


def test_over_a_long_time_no_more_pass_than_may() -> None:
    timers, passed = VirtualTimers(), list[int]()
    pace: Pace[int] = Pace(passed.append, lambda: None, timers.now, timers.call_later, most_per_second=10, burst=3)
    for number in range(10_000):  # a thousand a second
        timers.run_until(number / 1_000)
        pace.take(number)
    assert 95 <= len(passed) <= 104
    assert passed == sorted(passed)

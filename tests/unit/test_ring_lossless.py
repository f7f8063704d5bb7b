"""Credits of a lossless stream."""

import threading
import time

import pytest

from schemas.errors import InvalidValue
from schemas.frames import FrameAck, FrameRef
from shared.ring import LosslessGate, NotConsumed

pytestmark = pytest.mark.unit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _gate(**changes) -> LosslessGate:
    wanted = {"stream": "cam0", "epoch": 3, "consumer": "job", "window": 2, "policy": "refuse"}
    return LosslessGate(**wanted | changes)


def _ref(sequence: int) -> FrameRef:
    return FrameRef(
        stream="cam0", node="n", epoch=3, sequence=sequence, ring="r", slot=0, pixel_format="gray", width=1, height=1,
        pts_ns=0, captured_ns=0, monotonic_ns=0, delivery="lossless",
    )  # fmt: skip


def _ack(sequence: int, **changes) -> FrameAck:
    return FrameAck(**{"stream": "cam0", "epoch": 3, "consumer": "job", "sequence": sequence} | changes)


def test_the_window_fills_and_a_credit_makes_room():
    gate = _gate()
    for sequence in (1, 2):
        assert gate.admit(0)
        gate.sent(_ref(sequence))
    assert (gate.in_flight, gate.protected) == (2, range(1, 3))
    with pytest.raises(NotConsumed, match="job") as caught:
        gate.admit(0)
    assert caught.value.in_flight == 2
    assert gate.acknowledge(_ack(1)) is None
    assert gate.admit(0)
    assert (gate.in_flight, gate.protected) == (1, range(2, 3))


def test_one_credit_stands_for_all_before_it():
    gate = _gate(window=5)
    for sequence in range(1, 6):
        gate.sent(_ref(sequence))
    gate.acknowledge(_ack(4))
    assert (gate.in_flight, gate.counts.consumed) == (1, 4)
    gate.acknowledge(_ack(2))  # late or repeated: nothing
    assert (gate.in_flight, gate.counts.consumed) == (1, 4)


def test_drop_counts_and_goes_on():
    gate = _gate(policy="drop", window=1)
    gate.sent(_ref(1))
    assert [gate.admit(60) for _ in range(3)] == [False] * 3
    assert gate.counts.dropped == 3


def test_wait_ends_with_a_credit():
    gate = _gate(policy="wait", window=1)
    gate.sent(_ref(1))
    timer = threading.Timer(0.05, gate.acknowledge, [_ack(1)])
    timer.start()
    started = time.monotonic()
    assert gate.admit(10)
    assert 0.04 < time.monotonic() - started < 5
    timer.join()


def test_wait_ends_at_its_deadline():
    gate = _gate(policy="wait", window=1)
    gate.sent(_ref(1))
    with pytest.raises(NotConsumed, match=r"0\.05 s"):
        gate.admit(0.05)
    assert gate.counts.timed_out == 1


def test_an_error_reaches_the_producer_once():
    gate = _gate(window=3)
    for sequence in (1, 2):
        gate.sent(_ref(sequence))
    failed = gate.acknowledge(_ack(2, error="model crashed"))
    assert failed is not None
    assert (failed.ref.sequence, failed.error) == (2, "model crashed")
    assert gate.acknowledge(_ack(2, error="model crashed")) is None
    assert (gate.counts.consumed, gate.counts.failed, gate.in_flight) == (1, 1, 0)


@pytest.mark.parametrize("change", [{"stream": "cam1"}, {"epoch": 2}, {"consumer": "viewer"}, {"sequence": 3}])
def test_credits_that_are_not_ours_are_ignored(change):
    gate = _gate()
    gate.sent(_ref(1))
    gate.acknowledge(_ack(**{"sequence": 1} | change))
    assert (gate.in_flight, gate.counts.ignored_acks) == (1, 1)


def test_references_come_back_together_when_the_oldest_has_waited_a_second():
    clock = Clock()
    gate = _gate(window=5, clock=clock)
    gate.sent(_ref(1))
    clock.now += 0.6
    gate.sent(_ref(2))
    assert gate.due() == []
    clock.now += 0.5
    assert [ref.sequence for ref in gate.due()] == [1, 2]
    assert gate.due() == []
    clock.now += 0.9
    assert gate.due() == []
    gate.acknowledge(_ack(1))
    clock.now += 0.2
    assert [ref.sequence for ref in gate.due()] == [2]
    assert gate.counts.resent == 3
    assert [ref.sequence for ref in gate.due(everything=True)] == [2]


def test_drain():
    gate = _gate()
    assert gate.drain(0)
    gate.sent(_ref(1))
    assert not gate.drain(0.01)
    gate.acknowledge(_ack(1))
    assert gate.drain(0)


@pytest.mark.parametrize("change", [{"policy": "hope"}, {"window": 0}])
def test_refuses(change):
    with pytest.raises(InvalidValue):
        _gate(**change)

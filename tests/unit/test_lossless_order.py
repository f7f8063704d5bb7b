"""The consumer's side of a lossless stream, against a real gate over a bus that loses and repeats."""

import random
from collections import deque

import pytest

from schemas.frames import FrameAck, FrameRef
from shared.lossless_order import JOIN_SECONDS, STUCK_SECONDS, LosslessOrder
from shared.ring import LosslessGate
from shared.ring.lossless import RESEND_AFTER_SECONDS

pytestmark = pytest.mark.unit

_STEP_SECONDS = 0.05


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _ref(sequence: int, epoch: int = 3) -> FrameRef:
    return FrameRef(
        stream="cam0", node="n", epoch=epoch, sequence=sequence, ring="r", slot=0, pixel_format="gray", width=1,
        height=1, pts_ns=0, captured_ns=0, monotonic_ns=0, delivery="lossless", consumer="job",
    )  # fmt: skip


class LossyMesh:
    """A writer, a bus that loses references and credits, one consumer at a time."""

    def __init__(self, seed: int, loss: float) -> None:
        self.clock = Clock()
        self.random = random.Random(seed)
        self.loss = loss
        self.gate = LosslessGate(stream="cam0", epoch=3, consumer="job", window=4, policy="refuse", clock=self.clock)
        self.order = LosslessOrder(self.clock)
        self.used: list[int] = []
        self.written = 0
        self.on_the_way: deque[FrameRef] = deque()

    def step(self, *, write: bool) -> None:
        self.clock.now += _STEP_SECONDS
        if write and self.gate.in_flight < self.gate.window:
            self.written += 1
            ref = _ref(self.written)
            self.gate.sent(ref)
            self._post(ref)
        for ref in self.gate.due():
            self._post(ref)
        while self.on_the_way:
            ref = self.on_the_way.popleft()
            verdict = self.order.judge(ref)
            if verdict == "use":
                self.used.append(ref.sequence)
            if verdict != "early" and self.random.random() >= self.loss:
                self.gate.acknowledge(FrameAck(stream="cam0", epoch=3, consumer="job", sequence=self.order.last))

    def _post(self, ref: FrameRef) -> None:
        if self.random.random() >= self.loss:
            self.on_the_way.append(ref)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3])
def test_every_picture_once_in_order_whatever_the_bus_loses(seed, loss):
    mesh = LossyMesh(seed, loss)
    for _ in range(4000):
        mesh.step(write=mesh.written < 40)
        if mesh.written == 40 and not mesh.gate.in_flight:
            break
    assert mesh.used == list(range(1, 41))
    assert mesh.gate.in_flight == 0


def test_a_lost_reference_delays_a_writer_that_goes_on_once():
    mesh = LossyMesh(1, 0.0)
    for loss in (0.0, 1.0, 1.0):
        mesh.loss = loss
        mesh.step(write=True)
    mesh.loss = 0.0
    for _ in range(100 + round(1.5 * RESEND_AFTER_SECONDS / _STEP_SECONDS)):
        mesh.step(write=True)
    assert len(mesh.used) > 100
    assert mesh.used == list(range(1, len(mesh.used) + 1))


def test_who_takes_over_in_the_middle_loses_none_and_starts_with_the_oldest():
    mesh = LossyMesh(1, 0.0)
    for _ in range(10):
        mesh.step(write=True)
    for _ in range(2):  # the consumer is gone: these find nobody
        mesh.clock.now += _STEP_SECONDS
        mesh.written += 1
        mesh.gate.sent(_ref(mesh.written))
    mesh.order = LosslessOrder(mesh.clock)
    for _ in range(200):
        mesh.step(write=mesh.written < 20)
    assert mesh.used == list(range(1, 21))


def test_a_credit_that_was_lost_is_asked_for_again():
    order = LosslessOrder(Clock())
    assert [order.judge(_ref(sequence)) for sequence in (1, 2, 1)] == ["use", "use", "repeated"]
    assert order.last == 2


def test_a_new_writer_starts_afresh_and_the_old_one_is_refused():
    order = LosslessOrder(Clock())
    verdicts = [order.judge(ref) for ref in (_ref(1), _ref(2), _ref(1, epoch=4), _ref(3), _ref(2, epoch=4))]
    assert verdicts == ["use", "use", "use", "early", "use"]


def test_a_missing_reference_that_somebody_else_gave_credit_for_does_not_stall_for_ever():
    clock = Clock()
    order = LosslessOrder(clock)
    assert order.judge(_ref(1)) == "use"
    assert order.judge(_ref(3)) == "early"
    clock.now += STUCK_SECONDS + 0.1
    assert order.judge(_ref(3)) == "early"  # joins afresh
    clock.now += JOIN_SECONDS + 0.1
    assert order.judge(_ref(3)) == "use"

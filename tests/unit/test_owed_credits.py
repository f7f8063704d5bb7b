"""Credits that a rendition owes: as few as its writer allows, and none left when it waits."""

import pytest

from schemas.frames import FrameAck, FrameRef
from services.hw_encode.credits import OwedCredits
from shared.ring import LosslessGate

pytestmark = pytest.mark.unit

WINDOW = 6
EPOCH = 3


def ref(sequence: int, epoch: int = EPOCH, credit_every: int = WINDOW // 2) -> FrameRef:
    return FrameRef(
        stream="cam0", node="n", epoch=epoch, sequence=sequence, ring="r", slot=0, pixel_format="gray", width=1,
        height=1, pts_ns=0, captured_ns=0, monotonic_ns=0, delivery="lossless", consumer="hw-encode-main",
        credit_every=credit_every,
    )  # fmt: skip


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def sent() -> list[FrameAck]:
    return []


@pytest.fixture
def owed(clock: list[float], sent: list[FrameAck]) -> OwedCredits:
    """After a first credit, which is given at once."""
    credits = OwedCredits("hw-encode-main", sent.append, lambda: clock[0])
    credits.consumed(ref(1))
    assert [credit.sequence for credit in sent] == [1]
    sent.clear()
    return credits


def test_one_credit_stands_for_half_a_window(owed: OwedCredits, sent: list[FrameAck]) -> None:
    for sequence in range(2, 8):
        owed.consumed(ref(sequence))
    assert [(credit.sequence, credit.error) for credit in sent] == [(4, ""), (7, "")]


def test_who_waits_owes_nothing(owed: OwedCredits, sent: list[FrameAck]) -> None:
    owed.consumed(ref(2))
    assert not sent
    owed.give()
    owed.give()
    assert [credit.sequence for credit in sent] == [2]


def test_a_slow_encoder_gives_each(owed: OwedCredits, sent: list[FrameAck], clock: list[float]) -> None:
    for sequence in (2, 3):
        clock[0] += 0.03
        owed.consumed(ref(sequence))
    assert [credit.sequence for credit in sent] == [2, 3]


def test_an_error_is_told_at_once_and_of_its_own_picture(owed: OwedCredits, sent: list[FrameAck]) -> None:
    gate = LosslessGate(stream="cam0", epoch=EPOCH, consumer="hw-encode-main", window=WINDOW)
    for sequence in (2, 3, 4):
        gate.sent(ref(sequence))
    owed.consumed(ref(2))
    owed.consumed(ref(3), "overwritten")
    owed.consumed(ref(4))
    owed.give()
    failed = [gate.acknowledge(credit) for credit in sent]
    assert [credit.sequence for credit in sent] == [3, 4]
    assert [item and (item.ref.sequence, item.error) for item in failed] == [(3, "overwritten"), None]
    assert (gate.counts.consumed, gate.counts.failed, gate.in_flight) == (2, 1, 0)


def test_each_writer_gets_its_own(owed: OwedCredits, sent: list[FrameAck]) -> None:
    owed.consumed(ref(2))
    owed.consumed(ref(1, EPOCH + 1))
    owed.give()
    assert [(credit.epoch, credit.sequence) for credit in sent] == [(EPOCH, 2), (EPOCH + 1, 1)]


def test_a_writer_that_does_not_allow_it_gets_each(owed: OwedCredits, sent: list[FrameAck]) -> None:
    owed.consumed(ref(2, credit_every=1))
    owed.consumed(ref(3, credit_every=1))
    assert [credit.sequence for credit in sent] == [2, 3]


@pytest.mark.parametrize(
    ("policy", "window", "credit_every"),
    [("wait", 6, 3), ("wait", 2, 1), ("wait", 1, 1), ("refuse", 6, 1), ("drop", 6, 1)],
)
def test_only_writers_that_wait_allow_it(policy: str, window: int, credit_every: int) -> None:
    gate = LosslessGate(stream="cam0", epoch=EPOCH, consumer="job", window=window, policy=policy)  # type: ignore[arg-type]
    assert gate.credit_every == credit_every

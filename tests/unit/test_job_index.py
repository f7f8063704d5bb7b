"""Which jobs there are: their order, what they are looked for by, and what is forgotten."""

import random

import pytest

from schemas.extraction import JobState
from services.frame_extractor.jobs.index import JobIndex, Row

pytestmark = pytest.mark.unit

LIFE_SECONDS = 100


def row(number: int, state: JobState = "completed", owner: str = "shop", submitted_ns: int | None = None) -> Row:
    return Row(
        id=f"task-20260504100000-{number:06d}",
        state=state,
        owner=owner,
        submitted_ns=number if submitted_ns is None else submitted_ns,
    )


def numbers(found: object) -> list[int]:
    return [int(job[-6:]) for job in found]  # type: ignore[attr-defined]


def test_the_newest_come_first_in_whatever_order_they_are_heard_of() -> None:
    index = JobIndex(LIFE_SECONDS)
    told = list(range(300))
    random.Random(1).shuffle(told)
    for number in told:
        index.put(row(number), 0)
    assert numbers(index.newest(None, None, None)) == list(range(299, -1, -1))
    # A page ends at a job; the next one begins behind it, also when the job itself is gone.
    before = (100, row(100).id)
    assert numbers(index.newest(None, None, before)) == list(range(99, -1, -1))
    index.remove(row(100).id)
    assert numbers(index.newest(None, None, before)) == list(range(99, -1, -1))
    assert len(index) == 299


def test_jobs_of_one_moment_are_told_apart() -> None:
    index = JobIndex(LIFE_SECONDS)
    for number in (2, 1, 3):
        index.put(row(number, submitted_ns=7), 0)
    assert numbers(index.newest(None, None, None)) == [3, 2, 1]
    assert numbers(index.newest(None, None, (7, row(2).id))) == [1]


def test_they_are_found_by_owner_and_state_as_they_are_now() -> None:
    index = JobIndex(LIFE_SECONDS)
    for number in range(6):
        index.put(row(number, "pending", owner=("shop", "bakery")[number % 2]), 0)
    index.put(row(3, "running", "bakery"), 1)
    index.put(row(3, "failed", "bakery"), 2)
    index.put(row(4, "canceled"), 2)
    assert numbers(index.newest("bakery", None, None)) == [5, 3, 1]
    assert numbers(index.newest("bakery", "pending", None)) == [5, 1]
    assert numbers(index.newest("bakery", "failed", None)) == [3]
    assert numbers(index.newest(None, "canceled", None)) == [4]
    assert numbers(index.newest("nobody", None, None)) == []
    assert {state: count for state, count in index.states.items() if count} == {
        "pending": 4,
        "failed": 1,
        "canceled": 1,
    }


def test_what_the_bus_forgets_is_forgotten_at_the_same_time() -> None:
    index = JobIndex(LIFE_SECONDS)
    index.put(row(1), 1000)
    index.put(row(2, "running"), 1001)
    index.put(row(3), 1002)
    index.put(row(2), 1090)  # lives on: it was written again
    index.forget_old(1000 + LIFE_SECONDS)
    assert numbers(index.newest(None, None, None)) == [3, 2, 1]
    index.forget_old(1001 + LIFE_SECONDS)
    assert numbers(index.newest(None, None, None)) == [3, 2]
    index.forget_old(1089 + LIFE_SECONDS)
    assert numbers(index.newest(None, None, None)) == [2]
    index.forget_old(1091 + LIFE_SECONDS)
    assert len(index) == 0
    assert not any(index.states.values())
    index.put(row(9, owner="bakery"), 2000)
    index.clear()
    assert (len(index), +index.states) == (0, {})

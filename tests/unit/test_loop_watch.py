"""What is told of an event loop that was held up, and of a wall clock that was set."""

import asyncio
import time

import pytest

from shared.loop_watch import LoopWatch
from tests.support.pace import patience

_HELD_UP_SECONDS = 0.3
_LOOK_SECONDS = 0.25  # how often the watch looks


@pytest.mark.parametrize(
    ("steps_seconds", "counted"),
    [
        ((0.0, 0.0), 0),
        ((0.0, 0.05, 0.1), 0),  # slewed: each look finds it a little further
        ((0.0, 3600.0), 1),
        ((0.0, -0.2, -0.2), 1),
        ((0.0, 1.0, 0.0), 2),
    ],
)
def test_steps_of_the_wall_clock_are_counted(steps_seconds: tuple[float, ...], counted: int) -> None:
    watch = LoopWatch()
    for look, step in enumerate(steps_seconds):
        at = 100.0 + look
        watch.compare_clocks(at, 1.8e9 + look + step, at + 1e-5)
    # The first look compares with the real clocks, which these are not.
    assert watch.clock_steps - 1 == counted


def test_clocks_read_far_apart_are_not_compared() -> None:
    watch = LoopWatch()
    watch.compare_clocks(1.0, 9e9, 1.5)
    assert watch.clock_steps == 0


async def test_a_held_up_loop_shows() -> None:
    watch = LoopWatch()
    watch.start()
    try:
        await asyncio.sleep(2 * _LOOK_SECONDS)  # how long the loop runs is what is tested
        looks = watch.lag_seconds.count
        assert looks >= 1
        time.sleep(_LOOK_SECONDS + _HELD_UP_SECONDS)  # noqa: ASYNC251  # that is the fault
        await asyncio.sleep(0.01)
    finally:
        watch.close()
    family = watch.lag_seconds.family("lag", "")
    below = {sample.labels["le"]: sample.value for sample in family.samples if "le" in sample.labels}
    assert below["+Inf"] - below["0.1"] >= 1, "the look that was due meanwhile came late"
    count = watch.lag_seconds.count
    await asyncio.sleep(2 * _LOOK_SECONDS)
    assert watch.lag_seconds.count == count, "closed"


async def test_tasks_of_the_loop_are_counted() -> None:
    before = len(asyncio.all_tasks())
    waiting = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
    watch = LoopWatch()
    watch.start()
    try:
        async with patience(2.0):
            while not watch.tasks:
                await asyncio.sleep(_LOOK_SECONDS / 5)
        assert watch.tasks == before + 3
    finally:
        watch.close()
        for task in waiting:
            task.cancel()

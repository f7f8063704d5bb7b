"""Ending background tasks, also those that a library makes deaf for a moment."""

import asyncio
import contextlib
import gc
import socket

import pytest
import uvloop

from shared.tasks import end_tasks, set_within, tell_untold

pytestmark = [pytest.mark.unit, pytest.mark.timeout(20)]


async def test_a_swallowed_cancellation_is_said_again() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def deaf_once() -> None:
        # Answer and cancellation in one turn of the loop: `asyncio.wait_for` in Python 3.11 gives the answer only.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({answer})
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_once())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks(task)
    assert task.cancelled()


async def test_tidying_up_is_not_cut_short() -> None:
    tidied = False

    async def tidy() -> None:
        nonlocal tidied
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.5)
            tidied = True

    task = asyncio.create_task(tidy())
    await asyncio.sleep(0)
    await end_tasks(task)
    assert tidied


async def test_a_failure_is_not_in_the_way() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end_tasks(task, asyncio.create_task(asyncio.Event().wait()))
    assert isinstance(task.exception(), ValueError)
    await end_tasks()


async def test_an_event_that_stays_set_leaves_others_their_turn() -> None:
    event, turns = asyncio.Event(), 0
    event.set()

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(10):
        assert await set_within(event, 1.0)
    assert turns >= 9
    await end_tasks(task)
    assert not await set_within(asyncio.Event(), 0.01)


def test_a_look_up_that_is_given_up_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """As each try to reach a server whose name is away with it."""

    async def give_up() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(tell_untold)
        for _ in range(3):
            looking: asyncio.Future[None] = loop.create_future()
            looking.set_exception(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
            with contextlib.suppress(TimeoutError):  # the real one, where there is time enough for it to fail
                await asyncio.wait_for(asyncio.open_connection("nobody.invalid", 4222), 0.0005)
            del looking
        await asyncio.sleep(0.2)
        gc.collect()
        assert caplog.records == []
        other = loop.create_future()
        other.set_exception(ValueError("a bug"))
        del other
        gc.collect()
        assert "a bug" in caplog.text

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(give_up())

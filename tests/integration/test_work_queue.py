"""The bus's queue of work against a real server: bounds, repetition, workers that fall silent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from schemas.errors import BadRequest, TooMany
from shared.bus import Bus, WorkQueue, work_queue
from tests.support.nats import NatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]

GIVE_UP_SECONDS = 0.5
MAX_ITEMS = 3


@pytest.fixture
async def queue() -> AsyncIterator[WorkQueue]:
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test")
        yield await bus.work_queue(
            "work", "work.items", "workers", give_up_seconds=GIVE_UP_SECONDS, max_items=MAX_ITEMS, max_age_seconds=60
        )
        await bus.drain()


async def test_it_is_bounded_and_takes_an_item_once(queue: WorkQueue) -> None:
    for item in ("a", "b", "c", "a"):
        await queue.put(item, item.encode())
    assert await queue.size() == (3, 0)
    with pytest.raises(TooMany, match="3 are waiting"):
        await queue.put("d", b"d")
    with pytest.raises(BadRequest, match="bytes"):
        await queue.put("large", bytes(2 << 20))
    taker = queue.taker()
    work = await taker.take(2)
    assert work is not None
    assert work.data == b"a"
    assert await queue.size() == (2, 1)
    assert await work.done()
    await queue.put("d", b"d")
    assert await queue.size() == (3, 0)
    await taker.close()


async def test_its_bound_is_the_one_that_was_said_last_and_it_says_which_is_reached(
    queue: WorkQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def again(name: str, subject: str, max_items: int) -> WorkQueue:
        other = WorkQueue(
            queue._jetstream, name, subject, "workers", give_up_seconds=1, max_items=max_items, max_age_seconds=60
        )
        await other.open()
        return other

    for item in ("a", "b", "c"):
        await queue.put(item, b"")
    await (await again("work", "work.items", MAX_ITEMS + 1)).put("d", b"")
    with pytest.raises(TooMany, match="4 are waiting"):
        await (await again("work", "work.items", MAX_ITEMS + 1)).put("e", b"")
    monkeypatch.setattr(work_queue, "_MAX_BYTES", 2000)
    small = await again("small", "small.items", 100)
    await small.put("a", bytes(1500))
    with pytest.raises(TooMany, match="too many bytes are waiting"):
        await small.put("b", bytes(1500))


async def test_what_a_silent_worker_has_another_gets(queue: WorkQueue) -> None:
    await queue.put("a", b"a")
    silent, other = queue.taker(), queue.taker()
    kept = await silent.take(2)
    assert kept is not None
    for _ in range(4):  # twice as long as patience lasts
        await asyncio.sleep(GIVE_UP_SECONDS / 2)
        await kept.going_on()
    assert await other.take(0.1) is None
    again = await other.take(3 * GIVE_UP_SECONDS)  # and now nothing is heard of it
    assert again is not None
    assert again.data == b"a"
    await again.again()
    third = await other.take(2)
    assert third is not None
    assert await third.done()
    assert await queue.size() == (0, 0)
    await silent.close()
    await other.close()

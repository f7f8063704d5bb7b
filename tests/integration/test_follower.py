"""Changes of a bucket are told once and in order, over restarts of the server, and nothing is kept of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from shared.bus import Bucket, Bus, Change, Follower, follower
from tests.support.nats import NatsServer
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

MANY = 3000


class Heard:
    def __init__(self, bucket: Bucket) -> None:
        self.changes: list[Change] = []
        self.lost = 0
        self.follower = Follower(bucket, "job.*", self.changes.append, self._on_lost)

    def _on_lost(self) -> None:
        self.lost += 1
        self.changes.clear()

    def values(self) -> list[tuple[str, bytes | None]]:
        return [(change.key, change.value) for change in self.changes]

    async def until(self, predicate: Callable[[], bool]) -> None:
        patience = Patience(10)
        while not predicate():
            assert not patience.is_over(), self.values()[-5:]
            await asyncio.sleep(0.01)


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    with NatsServer() as server:
        yield server


async def test_changes_are_told_in_order_and_go_on_after_a_restart(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_LOOK_SECONDS", 0.5)  # a bucket that is removed is found out then
    bus = await Bus.connect(server.url, name="test")
    bucket = await bus.bucket("large")
    heard = Heard(bucket)
    assert await heard.follower.caught_up(10)
    assert heard.changes == []  # an empty bucket is caught up with at once
    begun_s = time.time()
    await bucket.put("job.a", b"1")
    await bucket.put("key.a", b"of no interest")
    await bucket.put("job.a", b"2")
    await bucket.delete("job.a")
    await heard.until(lambda: len(heard.changes) == 3)
    assert heard.values() == [("job.a", b"1"), ("job.a", b"2"), ("job.a", None)]
    assert all(abs(change.written_s - begun_s) < 60 for change in heard.changes)

    server.kill()
    await asyncio.to_thread(server.start)
    patience = Patience(10)
    while not bus.connected:
        assert not patience.is_over()
        await asyncio.sleep(0.01)
    for number in range(MANY):
        await bus._client.publish(f"$KV.large.job.n{number}", str(number).encode())
    await heard.until(lambda: len(heard.changes) == 3 + MANY)
    assert heard.values()[3:] == [(f"job.n{number}", str(number).encode()) for number in range(MANY)]
    assert heard.lost == 0

    # A second one hears what there is now, which is not every change there was.
    other = Heard(bucket)
    assert await other.follower.caught_up(10)
    assert len({change.key for change in other.changes}) == MANY + 1

    # One of its messages is lost on its way: it is asked for again, and told where it belongs.
    told = heard.follower._told
    heard.follower._told = told - 1
    await bucket.put("job.b", b"3")
    await heard.until(lambda: heard.values()[-1] == ("job.b", b"3"))
    assert len(heard.changes) == 4 + MANY

    # Another bucket of that name: what is there now is told anew.
    await bus._client.jetstream().delete_key_value("large")
    await bucket.open()
    await bucket.put("job.c", b"4")
    await heard.until(lambda: heard.lost == 1 and heard.values() == [("job.c", b"4")])
    await heard.follower.close()
    await other.follower.close()
    await bus.drain()

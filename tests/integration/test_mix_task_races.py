"""Tasks of the CloudMix API where several want the same at once, and where nobody was there for a while."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from msgspec.structs import replace

from schemas.buckets import MIX_LEASE_TTL_SECONDS
from schemas.errors import Conflict, TooMany
from schemas.mix_tasks import TaskRecord
from schemas.subjects import MIX_LEASES_BUCKET, SECRETS_BUCKET, mix_lease_key
from services.cloud_mix_proxy.tasks import full_rules, keeper, leases, names, records
from services.cloud_mix_proxy.tasks.leases import Leases
from services.cloud_mix_proxy.tasks.local import LocalPlace
from services.cloud_mix_proxy.tasks.place import Seen
from services.cloud_mix_proxy.tasks.retention import forget_one
from shared.bus import Bus
from tests.support.mix_tasks import Parts, rules, task_node
from tests.support.nats import NatsServer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SECRET = "http://tos.example.org/a.mp4?token=a-word-that-nobody-else-knows"  # of this test


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def parts(server: NatsServer) -> AsyncIterator[Parts]:
    bus = await Bus.connect(server.url, name="parts", timeout_seconds=5)
    made = Parts(bus)
    await made.open()
    yield made
    await bus.drain()


async def test_of_those_who_come_at_once_no_more_have_a_task_than_may(server: NatsServer, parts: Parts) -> None:
    async with task_node(server.url, max_tasks_per_key=3, max_tasks=5) as node:
        many = [node.tasks.create(owner, f"many-{number}", rules(), None) for owner in "abc" for number in range(6)]
        found = await asyncio.gather(*many, return_exceptions=True)
        assert sum(isinstance(one, TooMany) for one in found) == len(many) - 5, found
        live = [one.owner for one in node.records.live()]
        assert (len(live), max(live.count(owner) for owner in "abc")) == (5, 3)
        for known in node.records.all():
            await node.tasks.delete(known.record.owner, known.record.task)
        for known in node.records.all():
            await node.until(known.record.task, status="done")


async def test_a_name_has_one_task_also_where_clocks_differ(
    server: NatsServer, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes whoever has just taken the name for one who died over it."""
    monkeypatch.setattr(names, "_CREATION_SECONDS", -1.0)
    async with task_node(server.url, "edge1") as one, task_node(server.url, "edge2") as other:
        many = [node.tasks.create("robot", "the-same", rules(), None) for _ in range(6) for node in (one, other)]
        found = await asyncio.gather(*many, return_exceptions=True)
        assert all(isinstance(task, str | Conflict) for task in found), found
        made = [task for task in found if isinstance(task, str)]
        assert len(made) == 1
        await one.until(made[0], status="runing")
        with pytest.raises(Conflict, match="in progress"):
            await other.tasks.create("robot", "the-same", rules(), None)
        await one.tasks.delete("robot", made[0])
        await one.until(made[0], status="done")
        for known in one.records.all():  # those that came too late are gone, or on their way out
            await one.until(known.record.task, status="done")


async def test_a_lease_is_kept_when_only_the_answer_was_lost(server: NatsServer) -> None:
    bus = await Bus.connect(server.url, name="leases", timeout_seconds=5)
    one, other = await Leases.open(bus, "edge1"), await Leases.open(bus, "edge2")
    bucket = await bus.bucket(MIX_LEASES_BUCKET)
    assert await one.hold("t")
    assert not await other.hold("t")
    assert not other.holds("t")
    long_ago = time.monotonic() - MIX_LEASE_TTL_SECONDS / 2
    await bucket.put(mix_lease_key("t"), b"edge1")  # written, and nobody was told so
    one._held["t"] = (one._held["t"][0], long_ago)
    assert await one.renew("t")
    await bucket.put(mix_lease_key("t"), b"edge2")
    one._held["t"] = (one._held["t"][0], long_ago)
    assert not await one.renew("t")
    assert not one.holds("t")
    assert await one.renew("t"), "what is not held is nothing to lose"
    assert not one.holds("t")
    await bus.drain()


async def test_a_lease_is_kept_while_a_step_takes_long(
    server: NatsServer, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a cloud's answer may: or another node would make the task a second time meanwhile."""
    answered, advance = asyncio.Event(), LocalPlace.advance

    async def late(self: LocalPlace, record: TaskRecord, full: full_rules.FullRules) -> Seen:
        await answered.wait()
        return await advance(self, record, full)

    monkeypatch.setattr(LocalPlace, "advance", late)
    monkeypatch.setattr(leases, "_RENEW_SECONDS", 0.1)
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.1)
    async with task_node(server.url) as node:
        task = await node.tasks.create("robot", "slow", rules(), None)
        bucket = await node.context.bus.bucket(MIX_LEASES_BUCKET)
        revisions: set[int] = set()
        async with patience(8):
            while len(revisions) < 3:
                entry = await bucket.get(mix_lease_key(task))
                revisions |= {entry.revision} if entry else set()
                await asyncio.sleep(0.05)
        assert (await node.task(task)).status == "prepare"
        answered.set()
        await node.until(task, status="runing")
        await node.tasks.delete("robot", task)
        await node.until(task, status="done")


@pytest.mark.parametrize("fallback", [True, False])
async def test_nobody_there_for_an_hour_and_then_no_cloud_either(
    server: NatsServer, parts: Parts, fallback: bool
) -> None:
    """The task was asked for, and its time to begin counts from when somebody tries."""
    async with task_node(server.url) as first:
        await first.context.cancel_tasks()
        task = await first.tasks.create("robot", f"waits-{fallback}", rules(), None)
        hour_ago_ns = time.time_ns() - 3_600 * 10**9
        await first.records.change(task, lambda one: replace(one, place="cloud", created_ns=hour_ago_ns))
        await first.kill()
    settings = {"upstream_fallback": fallback, "upstream_seconds": 1, "prepare_seconds": 5}
    async with task_node(server.url, **settings) as second:
        if fallback:
            assert (await second.until(task, status="runing")).place == "local"
            await second.tasks.delete("robot", task)
        done = await second.until(task, status="done")
        assert (done.error is not None) == (not fallback)
        if done.error is not None:
            assert "upstream_url" in done.error.message
        again = await second.tasks.create("robot", f"waits-{fallback}", rules(), None)  # its name is free
        await second.tasks.delete("robot", again)
        await second.until(again, status="done")


async def test_nothing_secret_outlives_a_task(server: NatsServer, parts: Parts) -> None:
    """Also not what an update has left that came as the task ended, or one that had no secret any more."""
    async with task_node(server.url) as node:
        bucket = await node.context.bus.bucket(SECRETS_BUCKET)
        with_secret, without = await asyncio.gather(
            node.tasks.create("robot", "late", rules(SECRET), None),
            node.tasks.create("robot", "plain", rules(SECRET), None),
        )
        await node.until(with_secret, status="runing")
        assert await node.tasks.update("robot", without, rules()) == 2
        assert (await node.tasks.detail("robot", without)).rules.input_source[0].url == rules().input_source[0].url
        await full_rules.seal(node.context.bus, with_secret, full_rules.FullRules(rules(f"{SECRET}2"), ""))
        for task in (with_secret, without):
            await node.tasks.delete("robot", task)
            await node.until(task, status="done")
            for later_seconds, secret, there in ((60, True, True), (1_000, False, True), (8 * 86_400, False, False)):
                known = await node.records.get(task)
                assert known is not None
                later_ns = time.time_ns() + later_seconds * 10**9
                await forget_one(node.context.bus, node.records, known, later_ns)
                assert bool([key for key in await bucket.entries() if task in key]) == secret
                assert (await node.records.get(task) is not None) == there


async def test_nothing_secret_is_left_of_a_task_that_was_never_made(
    server: NatsServer, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its creation dies with the secret kept and no record written: the sweep forgets it, or who takes its name."""

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    async with task_node(server.url) as node:
        bucket = await node.context.bus.bucket(SECRETS_BUCKET)
        before = set(await bucket.entries())
        with monkeypatch.context() as dies:
            dies.setattr(records.Records, "create", killed)
            for name in ("swept", "taken"):
                with pytest.raises(asyncio.CancelledError):
                    await node.tasks.create("robot", name, rules(SECRET), None)
        assert len(set(await bucket.entries()) - before) == 2
        await node.records.names.sweep(time.time_ns() + 60 * 10**9)
        assert len(set(await bucket.entries()) - before) == 2, "it may still be made"
        monkeypatch.setattr(names, "_CREATION_SECONDS", -1.0)
        task = await node.tasks.create("robot", "taken", rules(), None)
        assert len(set(await bucket.entries()) - before) == 1
        await node.records.names.sweep(time.time_ns() + 1_000 * 10**9)
        assert set(await bucket.entries()) <= before
        with pytest.raises(Conflict, match="in progress"):
            await node.tasks.create("robot", "taken", rules(), None)
        # An update that came as the task ended has kept one that its record does not know.
        await node.tasks.delete("robot", task)
        await node.until(task, status="done")
        await full_rules.seal(node.context.bus, task, full_rules.FullRules(rules(SECRET), ""))
        known = await node.records.get(task)
        assert known is not None
        await forget_one(node.context.bus, node.records, known, time.time_ns() + 8 * 86_400 * 10**9)
        assert set(await bucket.entries()) <= before

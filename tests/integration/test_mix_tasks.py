"""Tasks of the CloudMix API on a real bus: their lives, names, notices, and deaths of who keeps them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from schemas.errors import Conflict, ErrorInfo, InvalidValue, NotFound, TooMany
from schemas.mix_resources import MixInputActual
from schemas.mix_tasks import ListMixTasks
from schemas.subjects import MIX_LEASES_BUCKET, mix_lease_key
from services.cloud_mix_proxy.tasks import service
from services.cloud_mix_proxy.tasks.plan import input_of
from shared.bus import Bus
from tests.support.mix_tasks import Parts, Receiver, receiver, rules, task_node
from tests.support.nats import NatsServer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


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


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


async def until_told(hook: Receiver, status: str) -> None:
    """Of this, and of everything before it."""
    async with patience(10):
        while True:
            details = hook.details()
            if details and details[-1]["status"] == status and len(_numbers(hook)) == details[-1]["number"]:
                return
            await asyncio.sleep(0.05)


def _numbers(hook: Receiver) -> set[int]:
    return {one["number"] for one in hook.details()}


@pytest.fixture(autouse=True)
def _soon_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service that died had in hand comes to the next one within the time of a test."""
    monkeypatch.setattr(service, "GIVE_UP_SECONDS", 2.0)


async def test_a_task_lives_is_changed_and_ends(server: NatsServer, parts: Parts, hook: Receiver) -> None:
    async with task_node(server.url, callback_key="k") as node:
        task = await node.tasks.create("robot", "one", rules(), hook.url)
        running = await node.until(task, status="runing", last_success_operation=1)
        assert (running.node, running.place, running.last_operation) == ("edge1", "local", 1)
        assert "word" not in str(running)
        assert set(parts.asked) == {"create", "hw-encode main", "publisher out1", "publisher out2"}
        # The same name is free for others, and not for its owner.
        with pytest.raises(Conflict, match="in progress"):
            await node.tasks.create("robot", "one", rules(), None)
        with pytest.raises(NotFound):
            await node.tasks.detail("studio", task)
        assert (await node.tasks.detail("robot", task)).callback_url == hook.url
        assert await node.tasks.update("robot", task, rules("http://tos.example.org/other.mp4")) == 2
        await node.until(task, last_success_operation=2, operation_error=None)
        with pytest.raises(InvalidValue, match=r"Output\.Url"):
            await node.tasks.update("robot", task, rules(Url=["elsewhere.example.com"]))
        parts.refused = missing = ErrorInfo(code=503, message="the picture is not there")
        assert await node.tasks.update("robot", task, rules("http://tos.example.org/third.mp4")) == 3
        await node.until(task, last_success_operation=2, operation_error=missing)
        await parts.say(f"mix-{task}", error=None, inputs=(MixInputActual(input=input_of("1"), state="lost"),))
        await node.until(task, error_sources=("1",))
        await node.tasks.delete("robot", task)
        done = await node.until(task, status="done", untold=())
        assert done.stopped_ns > 0
        assert not {key for key in await parts.keys() if task in key}
        with pytest.raises(Conflict, match="done"):
            await node.tasks.update("robot", task, rules())
        await node.tasks.delete("robot", task)  # again: nothing
        again = await node.tasks.create("robot", "one", rules(), None)
        assert [one.task for one in (await node.tasks.list("robot", 1, 10))[1]] == [again, task]
        await until_told(hook, "done")
        details = hook.details()
        assert sorted(_numbers(hook)) == list(range(1, details[-1]["number"] + 1))
        assert ["1"] in [one["source_ids"] for one in details]
        assert "the picture is not there" in [one["err_msg"] for one in details]
        assert [entry.record.task for entry in (await node.tasks.show(ListMixTasks())).tasks] == [again]
        await node.tasks.delete("robot", again)
        await node.until(again, status="done")


async def test_there_are_only_so_many(server: NatsServer, parts: Parts) -> None:
    async with task_node(server.url, max_tasks=3, max_tasks_per_key=2) as node:
        made = [await node.tasks.create("robot", f"n{number}", rules(), None) for number in range(2)]
        with pytest.raises(TooMany, match="2 tasks"):
            await node.tasks.create("robot", "n2", rules(), None)
        made.append(await node.tasks.create("studio", "n0", rules(), None))
        with pytest.raises(TooMany, match="3 tasks"):
            await node.tasks.create("third", "n0", rules(), None)
        for task, owner in zip(made, ("robot", "robot", "studio"), strict=True):
            await node.tasks.delete(owner, task)
            await node.until(task, status="done")


async def test_of_many_who_want_a_name_one_has_it(server: NatsServer, parts: Parts) -> None:
    async with task_node(server.url) as one, task_node(server.url, "edge2") as other:
        answers = await asyncio.gather(
            *(node.tasks.create("robot", "race", rules(), None) for node in (one, other) * 3), return_exceptions=True
        )
        tasks = [answer for answer in answers if isinstance(answer, str)]
        assert len(tasks) == 1
        assert all(isinstance(answer, Conflict) for answer in answers if answer not in tasks)
        await one.until(tasks[0], status="runing")
        assert parts.asked.count("create") == 1
        await other.tasks.delete("robot", tasks[0])
        await one.until(tasks[0], status="done")


@pytest.mark.parametrize("state", ["pending", "prepare", "runing", "prestop"])
async def test_whoever_keeps_it_may_die_in_every_state(
    server: NatsServer, parts: Parts, hook: Receiver, state: str
) -> None:
    async with task_node(server.url) as first:
        if state == "pending":  # it dies before it has looked once
            await first.context.cancel_tasks()
        task = await first.tasks.create("robot", f"dies-{state}", rules(), hook.url)
        if state in ("runing", "prestop"):
            await first.until(task, status="runing")
        if state == "prestop":
            await first.tasks.delete("robot", task)
        await first.kill()
        before = (await first.task(task)).status
        async with task_node(server.url) as second:
            if state != "prestop":
                running = await second.until(task, status="runing")
                assert running.task == task
                await second.tasks.delete("robot", task)
            await second.until(task, status="done", untold=())
            assert not {key for key in await parts.keys() if task in key}
            await until_told(hook, "done")
    assert before in ("pending", "prepare", "runing", "prestop", "done")
    assert sorted(_numbers(hook)) == list(range(1, max(_numbers(hook)) + 1))  # told twice perhaps, but of everything


@pytest.mark.parametrize("stopping", [False, True])
async def test_another_node_goes_on_where_one_is_gone(server: NatsServer, parts: Parts, stopping: bool) -> None:
    """With its mix, rendition and outputs; a task that was ending there ends although nobody there takes leave."""
    async with task_node(server.url, "edge1") as first:
        task = await first.tasks.create("robot", f"moves-{stopping}", rules(), None)
        await first.until(task, status="runing")
        assert await parts.nodes(task) == {"edge1"}
        await first.kill()
        parts.gone = "edge1"
        async with task_node(server.url, "edge2") as second:
            if stopping:
                await second.tasks.delete("robot", task)
            await asyncio.sleep(0.5)  # as long as the other one's word holds it is its own
            assert (await second.task(task)).node == "edge1"
            bucket = await second.context.bus.bucket(MIX_LEASES_BUCKET)
            await bucket.purge(mix_lease_key(task))  # as its time is over
            if not stopping:
                moved = await second.until(task, node="edge2", status="runing", last_success_operation=1)
                assert moved.error is None
                async with patience(5):
                    while await parts.nodes(task) != {"edge2"}:
                        await asyncio.sleep(0.05)
                await second.tasks.delete("robot", task)
            await second.until(task, status="done")
            assert not {key for key in await parts.keys() if task in key}

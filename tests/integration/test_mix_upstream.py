"""Tasks that a cloud mixes. The cloud is a second instance of our own API on a bus of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.subjects import MIX_LEASES_BUCKET, mix_lease_key
from services.cloud_mix_proxy.edge.admission import Admission
from services.cloud_mix_proxy.edge.exchange import Exchange
from services.cloud_mix_proxy.tasks import keeper, remains
from services.cloud_mix_proxy.upstream import cloud as cloud_module
from services.cloud_mix_proxy.upstream.client import printable
from services.cloud_mix_proxy.upstream.cloud import CloudPlace
from shared.bus import Bus
from shared.door.clients import Clients
from shared.door.connections import Connections
from shared.door.http_door import HttpDoor
from tests.support.cloud_mix import KEYS, ROBOT
from tests.support.mix_tasks import Node, Parts, rules, task_node
from tests.support.nats import NatsServer
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[NatsServer, NatsServer]]:
    with NatsServer() as here, NatsServer() as there:
        yield here, there


@contextlib.asynccontextmanager
async def parts(server: NatsServer) -> AsyncIterator[Parts]:
    bus = await Bus.connect(server.url, name="parts", timeout_seconds=5)
    made = Parts(bus)
    await made.open()
    yield made
    await bus.drain()


@contextlib.asynccontextmanager
async def cloud(server: NatsServer, port: int) -> AsyncIterator[tuple[Node, Parts]]:
    async with parts(server) as made, task_node(server.url, "cloud") as node:
        clients = Clients()
        exchange = Exchange(node.tasks, Admission(KEYS, clients, 0))
        door = HttpDoor(exchange.app(), "127.0.0.1", port, None, Connections(256, clients))
        await door.start()
        try:
            yield node, made
        finally:
            await door.close()


def upstream(port: int, **settings: Any) -> dict[str, Any]:
    return {
        "upstream_url": f"http://127.0.0.1:{port}",
        "upstream_access_key": ROBOT[0],
        "upstream_secret_key": ROBOT[1],
        "upstream_names": ("!here-*", "cloud-*"),
        **settings,
    }


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_module, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(remains, "_AGAIN_SECONDS", 0.2)


async def test_a_task_is_mixed_by_the_cloud(servers: tuple[NatsServer, NatsServer]) -> None:
    here, there = servers
    port = free_port()
    async with parts(here) as local, cloud(there, port) as (remote, made):
        async with task_node(here.url, **upstream(port)) as node:
            task = await node.tasks.create("robot", "cloud-1", rules(), None)
            running = await node.until(task, status="runing", last_success_operation=1)
            assert (running.place, local.asked) == ("cloud", [])
            theirs = (await remote.tasks.list("robot", 1, 10))[1][0]
            assert (theirs.task, theirs.name, theirs.status) == (running.cloud_task, task, "runing")
            pushed = (await remote.tasks.detail("robot", theirs.task)).rules.output.url
            assert pushed[0] == f"rtmp://push.example.com/live/{task}"  # where the client looks, whoever mixes
            assert await node.tasks.update("robot", task, rules("http://tos.example.org/b.mp4")) == 2
            await node.until(task, last_success_operation=2)
            assert made.mixes[f"mix-{theirs.task}"].inputs[0].source.endswith("/b.mp4")
        async with task_node(here.url, **upstream(port)) as node:  # it goes on after a restart
            await node.tasks.delete("robot", task)
            await node.until(task, status="done")
            await remote.until(theirs.task, status="done")
            # It ended there by itself.
            task = await node.tasks.create("robot", "cloud-2", rules(), None)
            running = await node.until(task, status="runing")
            await remote.tasks.delete("robot", running.cloud_task)
            await node.until(task, status="done")
            # An answer that was lost: it is found again by its name, and not made twice.
            task = await node.tasks.create("robot", "cloud-3", rules(), None)
            first = (await node.until(task, status="runing")).cloud_task
            await node.records.change(task, lambda one: replace(one, cloud_task="", status="prepare"))
            assert (await node.until(task, status="runing", cloud_task=first)).cloud_task == first
            # It was given up for dead there, and mixed here: it must not be pushed from both.
            await node.records.change(
                task, lambda one: replace(one, cloud_task="", status="prepare", place="local", cloud_left=True)
            )
            await remote.until(first, status="done")
            assert (await node.until(task, status="runing", cloud_left=False)).place == "local"
            here_too = await node.tasks.create("robot", "here-1", rules(), None)
            assert (await node.until(here_too, status="runing")).place == "local"
            for one in (task, here_too):
                await node.tasks.delete("robot", one)
                await node.until(one, status="done")


async def test_a_node_without_the_cloud_leaves_it_to_those_who_have_it(
    servers: tuple[NatsServer, NatsServer],
) -> None:
    here, there = servers
    port = free_port()
    async with parts(here) as local, cloud(there, port) as (remote, _), task_node(here.url, "edge2") as other:
        async with task_node(here.url, **upstream(port)) as node:
            await node.context.cancel_tasks()  # the other one alone looks at what is asked for
            task = await node.tasks.create("robot", "cloud-1", rules(), None)
            await asyncio.sleep(0.7)  # some looks
            assert (await other.task(task)).status == "pending"
        async with task_node(here.url, **upstream(port)) as node:
            running = await node.until(task, status="runing")
            await node.kill()
            bucket = await other.context.bus.bucket(MIX_LEASES_BUCKET)
            await bucket.purge(mix_lease_key(task))  # as its time is over
            await asyncio.sleep(0.7)
            assert await other.task(task) == running
        async with task_node(here.url, **upstream(port)) as node:
            await node.tasks.delete("robot", task)
            await node.until(task, status="done")
            await remote.until(running.cloud_task, status="done")
        assert local.asked == []


@pytest.mark.parametrize("secret", [ROBOT[1], "another"])
async def test_what_the_cloud_does_not_take_is_mixed_here(servers: tuple[NatsServer, NatsServer], secret: str) -> None:
    """With the right key nobody listens; with a wrong one the cloud refuses."""
    here, there = servers
    port = free_port()
    settings = upstream(port, upstream_secret_key=secret, upstream_seconds=1)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(parts(here))
        if secret == "another":
            await stack.enter_async_context(cloud(there, port))
        async with task_node(here.url, **settings) as node:
            task = await node.tasks.create("robot", "cloud-1", rules(), None)
            fallen = await node.until(task, status="runing")
            assert fallen.place == "local"
            # Who does not answer may have taken it all the same.
            assert fallen.cloud_left == (secret == ROBOT[1])
            await node.tasks.delete("robot", task)
            await node.until(task, status="done")
        async with task_node(here.url, **{**settings, "upstream_fallback": False}) as node:
            task = await node.tasks.create("robot", "cloud-1", rules(), None)
            done = await node.until(task, status="done")
            assert done.error is not None
            assert "CloudMixTask at http" in done.error.message


async def test_a_name_that_is_taken_there_is_a_creation_whose_answer_was_lost(
    servers: tuple[NatsServer, NatsServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = servers
    port = free_port()
    find = CloudPlace._find
    looks: list[str] = []

    async def blind_at_first(self: CloudPlace, name: str) -> str:
        looks.append(name)
        return await find(self, name) if len(looks) > 1 else ""

    monkeypatch.setattr(CloudPlace, "_find", blind_at_first)
    async with cloud(there, port) as (remote, _), task_node(here.url, **upstream(port)) as node:
        await node.context.cancel_tasks()
        task = await node.tasks.create("robot", "cloud-1", rules(), None)
        made = await remote.tasks.create("robot", task, rules(), None)
        async with task_node(here.url, "edge1", **upstream(port)) as second:
            running = await second.until(task, status="runing")
            assert (running.place, running.cloud_task, len(looks)) == ("cloud", made, 2)
            await second.tasks.delete("robot", task)
            await second.until(task, status="done")


def test_what_a_cloud_repeats_of_a_request_is_not_shown() -> None:
    url = "rtmp://push.example.com/live/key-of-mine?sign=word"
    said = printable(f"cannot push to {url}\n" + "x" * 1_000, [url])
    assert "key-of-mine" not in said
    assert "word" not in said
    assert "push.example.com" in said
    assert "\n" not in said
    assert len(said) == 300

"""Callbacks of CloudMix tasks: tried again, never lost, never where they must not go."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from schemas.errors import InvalidValue, Unavailable
from schemas.trace import TraceContext
from services.cloud_mix_proxy.callbacks import deliveries
from services.cloud_mix_proxy.callbacks.post import TIMEOUT_SECONDS, post
from services.cloud_mix_proxy.tasks import service
from shared.bus import Bus
from shared.cause import begin, doing
from tests.support.mix_tasks import Parts, Receiver, receiver, rules, task_node
from tests.support.nats import NatsServer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

TRACE = "56" * 16


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


async def test_what_is_refused_is_tried_again_also_by_the_next_service(
    server: NatsServer, parts: Parts, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_QUICK_SECONDS", 0.05)
    monkeypatch.setattr(deliveries, "_SLOW_SECONDS", 0.2)
    monkeypatch.setattr(service, "GIVE_UP_SECONDS", 2.0)
    hook.answers = [302, 500, 404, 204] * 6  # more than the quick tries of all the notices; a redirect is no success
    async with task_node(server.url) as first:
        with doing(begin(TraceContext(TRACE, ""))):
            task = await first.tasks.create("robot", "again", rules(), hook.url)
        await first.until(task, status="runing", untold=())
        async with patience(5):
            while hook.tries < 6:
                await asyncio.sleep(0.02)
        state = await first.records.callbacks(task)
        assert "word" not in state.error
        await first.kill()
    async with task_node(server.url) as second:
        await second.tasks.delete("robot", task)
        await second.until(task, status="done", untold=())
        async with patience(20):
            while (await second.records.callbacks(task)).delivered < 5:
                await asyncio.sleep(0.05)
        state = await second.records.callbacks(task)
        assert (state.given_up, state.last_number) == (0, 5)
        assert {one["number"] for one in hook.details()} == {1, 2, 3, 4, 5}
        assert any(one.startswith(f"00-{TRACE}-") for one in hook.traceparents), "the receiver learns whose story it is"


async def test_a_notice_that_is_too_old_is_given_up(
    server: NatsServer, parts: Parts, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_QUICK_SECONDS", 0.02)
    monkeypatch.setattr(deliveries, "_LIFE_SECONDS", 0.0)
    hook.answers = [500] * 100
    async with task_node(server.url) as node:
        task = await node.tasks.create("robot", "old", rules(), hook.url)
        await node.until(task, status="runing", untold=())
        async with patience(10):
            while (await node.records.callbacks(task)).given_up < 2:
                await asyncio.sleep(0.05)
        state = await node.records.callbacks(task)
        assert (state.delivered, "answered 500" in state.error) == (0, True)
        await node.tasks.delete("robot", task)
        await node.until(task, status="done", untold=())


async def test_receivers_that_hang_hold_up_their_owner_alone(server: NatsServer, parts: Parts, hook: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        silent = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        async with task_node(server.url) as node:
            hanging = [await node.tasks.create("robot", f"hangs-{number}", rules(), silent) for number in range(3)]
            for task in hanging:  # two notices of each are in the queue
                await node.until(task, status="runing", untold=())
            task = await node.tasks.create("studio", "waits", rules(), hook.url)
            began = time.monotonic()
            await node.until(task, status="runing", untold=())
            async with patience(TIMEOUT_SECONDS / 2):
                while not hook.details():
                    await asyncio.sleep(0.02)
            print(f"told after {time.monotonic() - began:.2f} s")
            for one, owner in ((task, "studio"), *((task, "robot") for task in hanging)):
                await node.tasks.delete(owner, one)
                await node.until(one, status="done", untold=())
            await until_told_all(hook)


async def until_told_all(hook: Receiver) -> None:
    async with patience(10):
        while not hook.details() or hook.details()[-1]["status"] != "done":
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://[::1]:{}/", "http://2130706433:{}/", "http://0x7f.1:{}/",
     "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[::ffff:127.0.0.1]:{}/"],
)  # fmt: skip
def test_nothing_within_a_private_network_is_asked(hook: Receiver, url: str) -> None:
    with pytest.raises(InvalidValue, match="may not be reached"):
        post(url.format(hook.url.split(":")[2].split("/")[0]), b"{}", allow_private=False)
    assert hook.tries == 0


def test_the_metadata_of_a_cloud_is_never_asked() -> None:
    with pytest.raises(InvalidValue, match="may not be reached"):
        post("http://169.254.169.254/latest/meta-data", b"{}", allow_private=True)


def test_who_answers_byte_by_byte_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.cloud_mix_proxy.callbacks import post as module

    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.4)
    assert TIMEOUT_SECONDS == 4.0
    with socket.create_server(("127.0.0.1", 0)) as listening:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer within 0\.4 s"):
            post(f"http://127.0.0.1:{listening.getsockname()[1]}/", b"{}", allow_private=True)
        assert time.monotonic() - began < 3

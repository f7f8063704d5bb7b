"""Copies of the mesh's state that cannot be had leave nothing behind."""

import asyncio

import pytest

from shared.bus import Bus
from shared.state import StateMirrors
from tests.support.nats import NatsServer

pytestmark = pytest.mark.integration


def _tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("mirror ")]


async def test_copies_that_cannot_be_had_end_with_who_wanted_them() -> None:
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
        try:
            mirrors = await StateMirrors.open(bus)
            assert len(_tasks()) == 3
            await mirrors.close()
            server.kill()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await StateMirrors.open(bus)
            assert not _tasks()
        finally:
            server.start()
            await bus.drain()

"""The commands of streams come and go with what is wanted, in whatever order that is told."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.capture.stream_commands import StreamCommands
from shared.tasks import end_tasks, start_task

pytestmark = pytest.mark.unit


class Bus:
    """What is answered for now."""

    def __init__(self) -> None:
        self.answers: set[str] = set()

    async def serve(self, _name: str, _version: str, _about: str, _endpoints: Any, metadata: dict[str, str]) -> Any:
        stream = metadata["stream"]

        async def close() -> None:
            self.answers.discard(stream)

        self.answers.add(stream)
        return SimpleNamespace(close=close)


async def test_a_stream_that_is_wanted_again_before_its_runner_has_ended(tmp_path: Any) -> None:
    """Stopped and started while its runner was busy: the runner sees a changed spec only, and goes on."""
    bus, nothing = Bus(), SimpleNamespace(forget=lambda _stream: None)
    runners: Any = {"cam0": object()}
    context = cast(Any, SimpleNamespace(bus=bus, service="capture", node="edge1"))
    commands = StreamCommands(context, runners, cast(Any, nothing), cast(Any, nothing))
    task = start_task(commands.run(), "stream-commands")
    commands.keep_only({"cam0"})
    await commands.open("cam0")
    for wanted, answered in (((), set()), (("cam0",), {"cam0"})):
        commands.keep_only(wanted)
        async with asyncio.timeout(2):
            while bus.answers != answered:
                await asyncio.sleep(0)
    runners.clear()
    commands.keep_only({"cam1"})  # not before its runner is made
    await asyncio.sleep(0.01)
    assert bus.answers == set()
    await end_tasks(task)
    await commands.close()

"""A host that is cut off from its hub has its mixes, over the death of the service that makes them."""

import asyncio
import json
from typing import Any

import pytest

from schemas.errors import Unavailable
from schemas.subjects import PREFIX
from shared.bus import Bus
from tests.support.pace import Patience
from tests.support.two_hosts import EDGE, HUB, TwoHosts

STEP_SECONDS = 15.0
MIX = {"mix": "wall", "node": EDGE, "size": "320x180", "fps": 10, "inputs": [{"input": "a", "source": "mesh://cam0"}]}


async def call(bus: Bus, verb: str, request: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(await bus.request_raw(f"{PREFIX}.cmd.{verb}", json.dumps(request).encode(), 20))
    return reply


async def running_since(bus: Bus, after_ns: int) -> int:
    """Since when the mix runs, as soon as that is after `after_ns`."""
    patience = Patience(STEP_SECONDS)
    while True:
        actual = (await call(bus, "cloud-mix-proxy.get", {"mix": "wall"}))["actual"] or {}
        if actual.get("state") == "running" and actual["since_ns"] > after_ns:
            return int(actual["since_ns"])
        assert not patience.is_over(), actual
        await asyncio.sleep(0.05)


async def until_known(bus: Bus) -> list[Any]:
    """The tasks, as soon as the hub tells them."""
    patience = Patience(STEP_SECONDS)
    while True:
        try:
            tasks: list[Any] = (await call(bus, "cloud-mix-proxy.tasks", {}))["tasks"]
        except Unavailable:
            assert not patience.is_over()
            await asyncio.sleep(0.05)
        else:
            return tasks


async def test_mixes_go_on_while_the_hub_is_away() -> None:
    with TwoHosts() as on:
        on.start_nats(HUB)
        on.start_nats(EDGE)
        on.start(EDGE, "capture", "cloud-mix-proxy")
        async with on.bus(EDGE) as edge:
            await call(edge, "capture.start", {"stream": "cam0", "source": "test://?size=384x216&fps=10"})
            assert (await call(edge, "cloud-mix-proxy.create", MIX))["code"] == 200
            before = await running_since(edge, 0)
            on.cut()
            on.kill(EDGE, "cloud-mix-proxy")
            await asyncio.to_thread(on.start, EDGE, "cloud-mix-proxy")  # the connection's loop must go on
            await running_since(edge, before)
            for verb, request in (("tasks", {}), ("delete", {"mix": "wall"})):
                with pytest.raises(Unavailable, match="cut off from its hub"):
                    await call(edge, f"cloud-mix-proxy.{verb}", request)
            on.mend()
            assert await until_known(edge) == []
            assert (await call(edge, "cloud-mix-proxy.delete", {"mix": "wall"}))["code"] == 200

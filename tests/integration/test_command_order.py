"""Commands of one service begin in the order in which they were sent, whatever they are called."""

import asyncio

import msgspec
import pytest
from msgspec import Struct

from schemas.subjects import command
from shared.bus import Bus, Endpoint
from tests.support.nats import NatsServer

pytestmark = pytest.mark.integration

_COUNT = 200  # of one burst: fewer than may be under way


class Numbered(Struct):
    number: int


@pytest.mark.parametrize("services", [1, 3])
async def test_what_was_sent_first_begins_first(services: int) -> None:
    """Also where each of the commands has a service of its own, as resources have."""
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="service", timeout_seconds=5)
        caller = await Bus.connect(server.url, name="caller", timeout_seconds=5)
        begun: list[int] = []

        async def begin(request: Numbered) -> Numbered:
            begun.append(request.number)
            await asyncio.sleep(0)
            return request

        verbs = ("on", "off", "pulse")
        endpoints = [Endpoint(command("order", verb), Numbered, Numbered, begin) for verb in verbs]
        parts = [endpoints[number::services] for number in range(services)]
        served = [await bus.serve("order", "1.0.0", "", part) for part in parts]
        try:
            await caller.request(command("order", "on"), Numbered(number=-1), Numbered)
            begun.clear()
            asked = [
                caller.request(command("order", verbs[number * number % 7 % 3]), Numbered(number=number), Numbered)
                for number in range(_COUNT)
            ]
            replies = await asyncio.gather(*asked)
            assert begun == list(range(_COUNT))
            assert [msgspec.structs.astuple(one) for one in replies] == [(number,) for number in range(_COUNT)]
        finally:
            for one in served:
                await one.close()
            await caller.drain()
            await bus.drain()

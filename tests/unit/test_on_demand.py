"""Renditions that nobody asked for by a command: when they come, and when they go."""

import asyncio

import pytest

from services.hw_encode.on_demand import OnDemand

pytestmark = pytest.mark.unit
LINGER_SECONDS = 0.05


class Demand:
    def __init__(self) -> None:
        self.wanted: set[tuple[str, str]] = set()
        self.changed = asyncio.Event()
        self.on_demand = OnDemand(LINGER_SECONDS, self.changed.set)

    def show(self, *wanted: tuple[str, str]) -> set[str]:
        """What is there once this is wanted."""
        self.wanted = set(wanted)
        self.on_demand.demand_changed(["cam0", "cam1"], lambda *one: one in self.wanted)
        return self.there()

    def there(self) -> set[str]:
        return set(self.on_demand.specs(["cam0", "cam1"], "n1"))

    async def dropped(self) -> set[str]:
        async with asyncio.timeout(5):
            await self.changed.wait()
        return self.there()


async def test_codecs_come_with_who_wants_them_and_go_a_while_after_the_last() -> None:
    demand = Demand()
    always = {"cam0--main", "cam1--main"}
    assert demand.there() == always
    assert demand.show(("cam0", "vp8"), ("cam1", "main"), ("cam1", "wide")) == always | {"cam0--vp8"}
    assert demand.changed.is_set()
    spec = demand.on_demand.specs(["cam0"], "n1")["cam0--vp8"]
    assert (spec.rendition, spec.codec, spec.node) == ("vp8", "vp8", "n1")
    demand.changed.clear()
    assert demand.show() == always | {"cam0--vp8"}, "who reloads finds it running"
    assert demand.show(("cam0", "vp8"), ("cam1", "av1")) == always | {"cam0--vp8", "cam1--av1"}
    await asyncio.sleep(LINGER_SECONDS * 2)
    assert demand.there() == always | {"cam0--vp8", "cam1--av1"}, "wanted again in time"
    demand.changed.clear()
    demand.show(("cam1", "av1"))
    assert await demand.dropped() == always | {"cam1--av1"}
    demand.show()
    demand.on_demand.close()
    demand.changed.clear()
    await asyncio.sleep(LINGER_SECONDS * 2)
    assert not demand.changed.is_set(), "closed"

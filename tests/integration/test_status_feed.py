"""The console's state feed on a real bus: a console that falls behind loses the oldest, and that is counted."""

import asyncio
import time
from collections import Counter

import msgspec
import pytest
from prometheus_client import REGISTRY
from whep_rig import EncodedStream, gateway_rig

from schemas.events import Event
from services.webrtc_gateway.egress.metrics import register_metrics
from services.webrtc_gateway.web.status_feed import MeshStatusFeed
from shared.bus import Bus
from shared.desired import StateMirrors
from shared.metrics import Figures
from tests.support.nats import NatsServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]
QUEUE_MESSAGES = 64
SENT = QUEUE_MESSAGES + 10


async def test_a_console_that_is_behind_loses_the_oldest_and_it_is_counted() -> None:
    dropped: Counter[str] = Counter()
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
        mirrors = await StateMirrors.open(bus)
        feed = await MeshStatusFeed.open(bus, mirrors, dropped)
        slow, quick = feed.subscribe(), feed.subscribe()
        try:
            for messages in (slow, quick):
                assert msgspec.json.decode(await anext(messages))["type"] == "status"
            waiting = asyncio.ensure_future(anext(quick))
            for number in range(SENT):
                bus.post_event(Event(service="app", id="line1", event=f"e{number}", node="n1", at_ns=time.time_ns()))
            async with asyncio.timeout(3):
                await waiting
                while dropped["event_behind"] < 10:
                    await asyncio.sleep(0.01)
            first = msgspec.json.decode(await anext(slow))
            assert first["event"]["event"] == "e10", "the newest are kept"
            assert set(dropped) == {"event_behind"}
        finally:
            await slow.aclose()  # type: ignore[attr-defined]
            await quick.aclose()  # type: ignore[attr-defined]
            await feed.close()
            await mirrors.close()
            await bus.drain()


class Unwalkable(dict[str, object]):
    """What changes in the event loop must not be walked by the metrics' thread."""

    def __iter__(self) -> None:  # type: ignore[override]
        raise RuntimeError("dictionary changed size during iteration")

    values = items = keys = __iter__  # type: ignore[assignment]


async def test_the_scrape_walks_nothing_that_changes() -> None:
    figures = Figures()
    try:
        async with gateway_rig(EncodedStream()) as rig:
            rig.gateway.counters.console_dropped["console_closed"] += 3
            register_metrics(figures, rig.gateway)
            viewers = rig.gateway._viewers
            rig.gateway._viewers = Unwalkable(one=1, two=2)  # type: ignore[assignment]
            try:
                found = {
                    family.name: family.samples for family in await asyncio.to_thread(lambda: [*figures.collect()])
                }
            finally:
                rig.gateway._viewers = viewers
    finally:
        REGISTRY.unregister(figures)
    assert found["framemesh_webrtc_sessions"][0].value == 2
    (sample,) = found["framemesh_webrtc_console_dropped"]
    assert (sample.labels, sample.value) == ({"reason": "console_closed"}, 3)

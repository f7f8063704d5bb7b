"""What happened before a page was open, on a real bus: all of it once, whichever way it came."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from schemas.events import Event
from services.webrtc_gateway.auth.grant import Grant
from services.webrtc_gateway.auth.visible import visible_message
from services.webrtc_gateway.web.event_history import KEPT, KEPT_OF_A_STREAM
from services.webrtc_gateway.web.status_feed import MeshStatusFeed
from shared.bus import Bus
from shared.state import StateMirrors
from tests.support.nats import NatsServer
from tests.support.pace import patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]

_SILENT_SECONDS = 2.2  # longer than one request is waited for


def event(number: int, stream: str = "cam0") -> Event:
    return Event(service="capture", id=stream, event=f"e{number}", node="edge1", at_ns=number)


async def message(messages: AsyncIterator[bytes]) -> dict[str, Any]:
    async with patience(5):
        found: dict[str, Any] = msgspec.json.decode(await anext(messages))
        return found


async def history(feed: MeshStatusFeed, last: str) -> list[str]:
    """Names of the events that a page gets that is opened now; once it has this one, and those from before too."""
    async with patience(5):
        while True:
            messages = feed.subscribe()
            assert (await message(messages))["type"] == "status"
            found = (await message(messages))["events"] if feed._history and feed._history.events() else []
            await messages.aclose()  # type: ignore[attr-defined]
            names = [one["event"] for one in found]
            if last in names and "e1" in names:
                return names
            await asyncio.sleep(0.02)


async def test_no_event_is_missing_and_none_comes_twice() -> None:
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
        other = await Bus.connect(server.url, name="other", timeout_seconds=5)
        await bus.ensure_events()
        mirrors = await StateMirrors.open(bus)
        # Kept for days: they must not keep the others from anybody.
        for strange in (b"", b'{"service":"\xff"}', b'{"detail":' + b"[" * 5000):
            other.post("mesh.v1.evt.capture.cam0.strange", strange)
        other.post_event(event(1, "quiet"))
        for number in range(2, KEPT + 50):
            other.post_event(event(number))
        await other.flush(5)
        feed = await MeshStatusFeed.open(bus, mirrors, Counter())
        page = feed.subscribe()
        try:
            other.post_event(event(900))  # while the others are being read
            names = await history(feed, "e900")
            assert names == ["e1", *(f"e{number}" for number in range(51, KEPT + 50)), "e900"]
            assert (await message(page))["type"] == "status"
            before = await message(page)
            other.post_event(event(901))
            assert (await message(page))["event"]["event"] == "e901"
            assert "e901" not in [one["event"] for one in before["events"]]
            # The bus was away, and what happened meanwhile came to nobody.
            assert feed._subscription is not None
            await feed._subscription.close()
            await bus.flush(5)
            other.post_event(event(902))
            await other.flush(5)
            for hook in tuple(bus._reconnect_hooks):
                hook()
            assert (await message(page))["event"]["event"] == "e902"
            names = await history(feed, "e902")
            assert names[-3:] == ["e900", "e901", "e902"]
            assert len(set(names)) == len(names)
        finally:
            await page.aclose()  # type: ignore[attr-defined]
            await feed.close()
            await mirrors.close()
            await other.drain()
            await bus.drain()


async def test_events_that_a_busy_server_gives_late_are_read_all_the_same() -> None:
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
        await bus.ensure_events()
        for number in range(120):
            bus.post_event(event(number))
        await bus.flush(5)
        with server.silent():
            reading = asyncio.create_task(bus.kept_events(0, 100))
            await asyncio.wait({reading}, timeout=_SILENT_SECONDS)
            assert not reading.done(), "it is not given up"
        async with patience(5):
            last, found = await reading
        assert last == 120
        assert [msgspec.json.decode(one.data)["event"] for one in found] == [f"e{number}" for number in range(20, 120)]
        await bus.drain()


def test_a_token_for_one_stream_sees_its_events_only() -> None:
    events = [event(1), event(2, "cam0--main"), event(3, "line-1")]
    text = msgspec.json.encode({"type": "history", "events": events})
    seen = visible_message(text, Grant("guest", "guest", ("cam*",), frozenset({"view"})))
    assert seen is not None
    found = msgspec.json.decode(seen)
    assert found["type"] == "history"
    assert [one["id"] for one in found["events"]] == ["cam0", "cam0--main"]
    assert KEPT_OF_A_STREAM < KEPT

"""`GET /frame` of frame-extractor: who gets a picture, what is wrong with a request, and who does not wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from schemas.errors import TooMany
from schemas.moments import TakenPicture, TakePicture
from services.frame_extractor.las.admission import Admission
from services.frame_extractor.las.door import build_app
from services.frame_extractor.las.exchange import Exchange
from services.frame_extractor.las.keys import ApiKeys, read_api_keys
from services.frame_extractor.live.routes import FrameRoutes
from shared.door.clients import Clients
from shared.door.connections import Connections
from shared.door.http_door import HttpDoor
from tests.support.pace import patience

KEY, OTHER = "k" * 20, "o" * 20


class Moments:
    """No picture ever comes; of `busy` there are too many already."""

    def __init__(self) -> None:
        self.asked, self.waiting = asyncio.Event(), 0

    async def take(self, request: TakePicture) -> TakenPicture:
        if request.stream == "busy":
            raise TooMany("32 pictures are being made or waited for")
        self.waiting += 1
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
        raise AssertionError


@asynccontextmanager
async def served(moments: Moments, keys: ApiKeys | None, most: int = 0) -> AsyncIterator[tuple[str, Exchange]]:
    exchange, clients = Exchange(), Clients()
    app = build_app(exchange, [FrameRoutes(moments, Admission(keys, clients), ("viewer",))])
    door = HttpDoor(app, "127.0.0.1", 0, connections=Connections(most, clients, exchange.turned_away))
    port = await door.start()
    try:
        yield f"http://127.0.0.1:{port}/frame", exchange
    finally:
        await door.close()


async def ask(url: str, key: str = KEY) -> tuple[int, str, str | None]:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as reply:
        return reply.status, await reply.text(), reply.headers.get("Retry-After")


@pytest.fixture
def keys(tmp_path_factory: pytest.TempPathFactory) -> ApiKeys:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"viewer: {KEY}\nrobot: {OTHER}\n")
    path.chmod(0o600)
    return read_api_keys(path)


async def test_what_is_answered_to_whom(keys: ApiKeys) -> None:
    async with served(Moments(), keys) as (url, _):
        status, text, _ = await ask(f"{url}?stream=cam0", OTHER)
        assert (status, "live_keys" in text) == (403, True), "who it is, is known: it may not"
        assert (await ask(f"{url}?stream=cam0", "x" * 20))[0] == 401
        status, text, _ = await ask(f"{url}?stream=cam0&stream=cam1")
        assert (status, "give it once" in text) == (400, True)
        status, text, _ = await ask(f"{url}?strean=cam0")
        assert (status, "strean" in text) == (400, True)
        status, _, again = await ask(f"{url}?stream=busy")
        assert (status, again) == (429, "1")


async def test_who_has_gone_waits_for_nothing(keys: ApiKeys) -> None:
    moments = Moments()
    async with served(moments, keys) as (url, exchange):
        asking = asyncio.create_task(ask(f"{url}?stream=cam0&wait=60"))
        await moments.asked.wait()
        asking.cancel()
        async with patience(5):
            while moments.waiting or not exchange.answers["499"]:
                await asyncio.sleep(0.01)


async def test_a_connection_that_is_turned_away_is_counted(keys: ApiKeys) -> None:
    moments = Moments()
    async with served(moments, keys, most=1) as (url, exchange):
        asking = asyncio.create_task(ask(f"{url}?stream=cam0"))
        await moments.asked.wait()
        assert (await ask(f"{url}?stream=cam0"))[0] == 429
        assert exchange.answers["429"] == 1
        asking.cancel()

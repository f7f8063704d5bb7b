"""Which web pages the gateway answers: its own at private addresses, listed ones, and programs that are no page."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from whep_rig import EncodedStream, Rig, gateway_rig

from schemas.errors import InvalidValue
from services.webrtc_gateway.settings import GatewaySettings
from services.webrtc_gateway.web.origins import SETTING
from shared.settings import load_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]
OFFER = (Path(__file__).parents[1] / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()
SDP = {"Content-Type": "application/sdp"}
EVIL = "http://evil.example"
WALL = "https://wall.example:8443"


@contextlib.asynccontextmanager
async def door(*listed: str) -> AsyncIterator[tuple[Rig, aiohttp.ClientSession]]:
    async with gateway_rig(EncodedStream(), cors_origins=listed) as rig, aiohttp.ClientSession(rig.url) as http:
        yield rig, http


async def post(http: aiohttp.ClientSession, **headers: str) -> tuple[int, str, str | None]:
    """Status, body and the origin that may read it."""
    async with http.post("/whep/cam0", data=OFFER, headers={**SDP, **headers}) as response:
        return response.status, await response.text(), response.headers.get("Access-Control-Allow-Origin")


async def test_a_page_of_elsewhere_is_refused_everything_and_told_which_setting_to_change() -> None:
    async with door() as (rig, http):
        status, body, readable_by = await post(http, Origin=EVIL)
        assert (status, readable_by) == (403, None)
        assert EVIL in body
        assert SETTING in body
        assert rig.stream.opened == 0
        for method, path in (("GET", "/api/status"), ("OPTIONS", "/whep/cam0"), ("DELETE", "/whep/cam0/main/x")):
            async with http.request(method, path, headers={"Origin": EVIL}) as response:
                assert response.status == 403, path
                assert "Access-Control-Allow-Origin" not in response.headers
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect("/api/events", headers={"Origin": EVIL})
        assert refused.value.status == 403


@pytest.mark.parametrize(
    "origin", ["null", "http://[", "", "evil", "http://127.0.0.1", "http://127.0.0.1.evil.example"]
)
async def test_origins_that_only_look_like_ours(origin: str) -> None:
    async with door() as (_, http):
        assert (await post(http, Origin=origin))[0] == 403


async def test_programs_and_the_console_itself_are_answered() -> None:
    async with door() as (rig, http):
        assert (await post(http))[0] == 201
        assert (await post(http, Origin=rig.url))[0] == 201
        assert (await post(http, Origin=rig.url.replace("http:", "https:")))[0] == 201, "a proxy ended TLS"
        async with http.ws_connect("/api/events", headers={"Origin": rig.url}) as socket:
            assert await socket.receive_json(timeout=2) == {"type": "state"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("192.168.1.20:8889", 201),
        ("[fd00::1]:8889", 201),
        ("localhost:8889", 201),
        ("edge1:8889", 201),
        ("EDGE1.local", 201),
        ("gateway.internal.", 201),
        ("evil.example:8889", 403),
        ("localhost.evil.example", 403),
        ("evillocal.example.com", 403),
        ("1.2.3.4.example", 403),
    ],
)
async def test_a_rebound_name_is_not_our_own_page(host: str, status: int) -> None:
    async with door() as (_, http):
        answered, body, _ = await post(http, Host=host, Origin=f"http://{host}")
        assert answered == status
        assert (SETTING in body) == (status == 403)
        assert (await post(http, Host=host))[0] == 201, "a program may use any name"
    async with door(f"http://{host}") as (_, http):
        assert (await post(http, Host=host, Origin=f"http://{host}".lower()))[0] == 201, "listed"


@pytest.mark.parametrize("listed", [WALL, f"{WALL}/", "*"])
async def test_listed_pages_can_play(listed: str) -> None:
    async with door("http://other.example", listed) as (_, http):
        preflight = {"Origin": WALL, "Access-Control-Request-Method": "POST"}
        async with http.options("/whep/cam0", headers=preflight) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == WALL
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
            assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]
        async with http.post("/whep/cam0", data=OFFER, headers={**SDP, "Origin": WALL}) as response:
            assert response.status == 201
            assert response.headers["Access-Control-Allow-Origin"] == WALL
            assert "Location" in response.headers["Access-Control-Expose-Headers"]
            assert response.headers["Vary"] == "Origin"
        async with http.get("/nothing/here", headers={"Origin": WALL}) as response:
            assert response.status == 404
            assert response.headers["Access-Control-Allow-Origin"] == WALL, "its script can read the error"
        async with http.ws_connect("/api/events", headers={"Origin": WALL}) as socket:
            assert await socket.receive_json(timeout=2) == {"type": "state"}
        assert (await post(http, Origin=EVIL))[0] == (201 if listed == "*" else 403)


def test_the_setting_takes_origins_and_nothing_else() -> None:
    def load(text: str) -> tuple[str, ...]:
        return load_settings(GatewaySettings, "webrtc-gateway", {SETTING: text}).cors_origins

    assert load_settings(GatewaySettings, "webrtc-gateway", {}).cors_origins == ()
    assert load(f"{WALL}, http://10.0.0.5") == (WALL, "http://10.0.0.5")
    for wrong in ("wall.example", "https://wall.example/page", "*.example", "ftp://wall.example"):
        with pytest.raises(InvalidValue, match=SETTING):
            load(wrong)


async def test_a_slow_body_of_a_foreign_page_is_not_waited_for() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"v=0"
        await asyncio.Event().wait()

    headers = {**SDP, "Origin": EVIL}
    async with (
        door() as (_, http),
        asyncio.timeout(2),
        http.post("/whep/cam0", data=endless(), headers=headers) as response,
    ):
        assert response.status == 403

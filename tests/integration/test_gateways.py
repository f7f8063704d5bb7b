"""Several gateways in one mesh: one list of sessions, one publisher of a stream, and nothing left of who is killed."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.gateways import AnotherGateway
from tests.support.light_peer import LightPeer
from tests.support.mesh import RunningMesh
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
SDP = {"Content-Type": "application/sdp"}
OFFER = (Path(__file__).parents[1] / "unit" / "fixtures" / "whip_offer_chromium.sdp").read_bytes()
RACES = 20
MAX_LEFT_SECONDS = 20.0  # 4 until capture misses the gateway, 5 in which a page may come back, and a second's looks


async def join(http: aiohttp.ClientSession, url: str, peer: LightPeer, stream: str = "cam0") -> str:
    """Watch a stream at a gateway; the session's id."""
    async with http.post(f"{url}whep/{stream}", data=peer.offer, headers=SDP) as response:
        answer = await response.text()
        assert response.status == 201, answer
        session = response.headers["Location"].rpartition("/")[2]
    await peer.connect(answer)
    await peer.media(3)
    return session


async def whole_list(http: aiohttp.ClientSession, url: str) -> list[dict[str, str]]:
    """All sessions; a machine that is busy may keep a gateway from answering in time."""
    patience = Patience(10)
    while (listed := await asked(http, url, "sessions"))["unanswered"]:
        assert not patience.is_over(), listed
    found: list[dict[str, str]] = listed["sessions"]
    return found


async def asked(http: aiohttp.ClientSession, url: str, command: str, **request: str) -> dict[str, Any]:
    """A command given at a gateway's door, as the console does."""
    async with http.post(f"{url}api/cmd/webrtc-gateway.{command}", json=request) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


async def one_list(mesh: RunningMesh, other: AnotherGateway) -> None:
    """Of two viewers at two gateways."""
    async with aiohttp.ClientSession() as http:
        with LightPeer() as here, LightPeer() as there, LightPeer() as last:
            first, second = await join(http, mesh.console, here), await join(http, other.url, there)
            third = await join(http, other.url, last)
            for url in (mesh.console, other.url):
                listed = await whole_list(http, url)
                found = {info["session"]: info["node"] for info in listed}
                assert found == {first: "test", second: other.node, third: other.node}
                assert len({info["gateway"] for info in listed}) == 2
            stats = mesh.call("webrtc-gateway.stats", session=second[:8])
            assert (stats["info"]["session"], stats["info"]["node"]) == (second, other.node)
            assert (await asked(http, mesh.console, "kick", session=second[:8]))["sessions"] == [second]
            assert (await asked(http, other.url, "kick", stream="cam0"))["sessions"] == [first, third]
            assert await whole_list(http, mesh.console) == []


async def a_gateway_hangs(mesh: RunningMesh, other: AnotherGateway) -> None:
    async with aiohttp.ClientSession() as http, contextlib.AsyncExitStack() as stack:
        with LightPeer() as here, LightPeer() as there:
            first = await join(http, mesh.console, here)
            await join(http, other.url, there)
            stack.callback(other.signal, signal.SIGCONT)
            silent = f"no answer from the gateway on {other.node}: theirs are not listed\n"
            patience = Patience(20)
            while True:
                other.signal(signal.SIGSTOP)
                shown, listed, refused = await asyncio.gather(
                    asyncio.to_thread(mesh.run, "sessions", "--json"),
                    asked(http, mesh.console, "sessions"),
                    http.post(f"{mesh.console}api/cmd/webrtc-gateway.kick", json={"session": "f" * 8}),
                )
                if (listed["unanswered"], shown.stderr) == ([other.node], silent):
                    break
                # On a machine so busy that who hangs is not present any more, or that others are late too.
                assert not patience.is_over(), (listed, shown.stderr)
                other.signal(signal.SIGCONT)
                while other.node not in {info["node"] for info in await whole_list(http, mesh.console)}:
                    assert not patience.is_over(), "it is present again"
            assert [info["session"] for info in listed["sessions"]] == [first]
            assert [info["session"] for info in json.loads(shown.stdout)] == [first]
            assert (refused.status, other.node in await refused.text()) == (503, True)


async def answered(http: aiohttp.ClientSession, method: str, url: str) -> tuple[int, str, str]:
    """Status, text and Location."""
    data = OFFER if method == "POST" else None
    async with http.request(method, url, data=data, headers=SDP) as response:
        return response.status, await response.text(), response.headers.get("Location", "")


async def races(mesh: RunningMesh, other: AnotherGateway) -> None:
    """Two gateways are asked at once to publish a stream of one name."""
    winners = set()
    async with aiohttp.ClientSession() as http:
        for number in range(RACES):
            urls = (mesh.console, other.url) if number % 2 else (other.url, mesh.console)
            pair = await asyncio.gather(*(answered(http, "POST", f"{url}whip/race{number}") for url in urls))
            assert sorted(status for status, _, _ in pair) == [201, 409], pair
            (winner,) = (url for url, (status, _, _) in zip(urls, pair, strict=True) if status == 201)
            node = "test" if winner == mesh.console else other.node
            (why,) = (text for status, text, _ in pair if status == 409)
            assert f"race{number} is published at the gateway on {node}" in why
            (location,) = (location for _, _, location in pair if location)
            assert (await answered(http, "DELETE", f"{winner}{location.lstrip('/')}"))[0] == 200
            winners.add(winner)
    assert len(winners) == 2, "either may win"


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        running.call("capture.start", stream="cam0", source="test://?size=384x216&fps=15")
        yield running


@pytest.fixture(scope="module")
def other(mesh: RunningMesh) -> Iterator[AnotherGateway]:
    with AnotherGateway(mesh, "test-2") as running:
        yield running


def test_sessions_of_all_gateways_are_one_list(mesh: RunningMesh, other: AnotherGateway) -> None:
    asyncio.run(one_list(mesh, other))
    asyncio.run(a_gateway_hangs(mesh, other))


def test_a_client_of_a_channel_is_found_wherever_it_is(mesh: RunningMesh, other: AnotherGateway) -> None:
    asyncio.run(a_client_is_asked_about(mesh, other))


def test_of_two_who_publish_at_once_one_wins(mesh: RunningMesh, other: AnotherGateway) -> None:
    asyncio.run(races(mesh, other))


async def a_client_is_asked_about(mesh: RunningMesh, other: AnotherGateway) -> None:
    """By whichever gateway is asked; it is in a channel of one of them."""
    url = f"{other.url.replace('http', 'ws', 1)}signaling"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        await socket.send_json({"type": "connect", "role": "recvonly", "channel_id": "far"})
        who = (await socket.receive_json(timeout=10))["connection_id"]
        await socket.send_json({"type": "pong", "stats": [{"type": "transport", "bytesSent": 7}]})
        patience = Patience(10)
        while not (told := await asked(http, mesh.console, "client-stats", channel="far", connection_id=who))[
            "reported"
        ]:
            assert not patience.is_over(), told
        for door in (mesh.console, other.url):
            for _ in range(8):  # over the bus either would answer
                told = await asked(http, door, "client-stats", channel="far", connection_id=who)
                assert told["reported"] == [{"type": "transport", "bytesSent": 7}]
        for missing in ({"channel": "far", "connection_id": "A" * 26}, {"channel": "near", "connection_id": who}):
            async with http.post(f"{mesh.console}api/cmd/webrtc-gateway.client-stats", json=missing) as response:
                assert response.status == 404


async def seen_elsewhere(url: str) -> None:
    """A stream that another gateway publishes, over WebRTC and HLS."""
    async with aiohttp.ClientSession() as http:
        with LightPeer() as peer:
            await join(http, url, peer, "pub")
        status, playlist, _ = await answered(http, "GET", f"{url}hls/pub/source/index.m3u8")
        assert (status, "#EXTM3U" in playlist) == (200, True), playlist
        status, why, _ = await answered(http, "POST", f"{url}whip/pub")
        assert (status, "pub is published at the gateway on" in why) == (409, True)


@pytest.mark.long
def test_a_gateway_that_is_killed_leaves_nothing(mesh: RunningMesh) -> None:
    with AnotherGateway(mesh, "test-3") as other:
        mesh.call("publisher.start", stream="cam0", output="push", to=f"{other.url}whip/pub", wait_s=10)
        mesh.wait_for(lambda: (mesh.actual("streams", "pub") or {}).get("state") == "live", 10, "pub is live")
        asyncio.run(seen_elsewhere(mesh.console))
        other.kill()
    mesh.call("publisher.stop", stream="cam0", output="push")
    gone = mesh.wait_for(lambda: mesh.actual("streams", "pub") is None, MAX_LEFT_SECONDS, "pub is taken away")
    assert gone
    left = [entry["spec"]["stream"] for entry in mesh.status()["streams"]]
    assert left == ["cam0"], "nor is anything of the races"


@pytest.mark.long
def test_a_killed_gateways_stream_is_published_at_another(mesh: RunningMesh) -> None:
    """At once: nobody waits for the claim to lapse."""
    with AnotherGateway(mesh, "test-3") as other:
        mesh.call("publisher.start", stream="cam0", output="push", to=f"{other.url}whip/pub", wait_s=10)
        mesh.wait_for(lambda: (mesh.actual("streams", "pub") or {}).get("state") == "live", 10, "pub is live")
        other.kill()
    began = time.monotonic()
    mesh.call("publisher.start", stream="cam0", output="push", to=f"{mesh.console}whip/pub", wait_s=10)
    mesh.wait_for(lambda: (mesh.actual("outputs", "cam0", "push") or {}).get("state") == "running", 10, "it is sent")
    print(f"published again after {time.monotonic() - began:.2f} s")
    mesh.call("publisher.stop", stream="cam0", output="push")

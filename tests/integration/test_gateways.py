"""Several gateways in one mesh: their sessions are one list, also while one of them hangs."""

import asyncio
import json
import signal
import time

import aiohttp
import pytest

from tests.support.gateways import AnotherGateway
from tests.support.light_peer import LightPeer
from tests.support.mesh import RunningMesh
from tests.support.pace import slowness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
SDP = {"Content-Type": "application/sdp"}
MAX_PARTIAL_SECONDS = 3.0  # a gateway that hangs is waited for 1.5 s


async def join(http: aiohttp.ClientSession, url: str, peer: LightPeer) -> str:
    """Watch cam0 at a gateway; the session's id."""
    async with http.post(f"{url}whep/cam0", data=peer.offer, headers=SDP) as response:
        answer = await response.text()
        assert response.status == 201, answer
        session = response.headers["Location"].rpartition("/")[2]
    await peer.connect(answer)
    await peer.media(3)
    return session


async def asked(http: aiohttp.ClientSession, url: str, command: str, **request: str) -> dict[str, object]:
    """A command given at a gateway's door, as the console does."""
    async with http.post(f"{url}api/cmd/webrtc-gateway.{command}", json=request) as response:
        assert response.status == 200, await response.text()
        found: dict[str, object] = await response.json()
        return found


async def one_list(mesh: RunningMesh, other: AnotherGateway) -> None:
    """Of two viewers at two gateways."""
    async with aiohttp.ClientSession() as http:
        with LightPeer() as here, LightPeer() as there, LightPeer() as last:
            first, second = await join(http, mesh.console, here), await join(http, other.url, there)
            third = await join(http, other.url, last)
            for url in (mesh.console, other.url):
                listed = await asked(http, url, "sessions")
                assert listed["unanswered"] == []
                found = {info["session"]: info["node"] for info in listed["sessions"]}  # type: ignore[attr-defined]
                assert found == {first: "test", second: other.node, third: other.node}
                assert len({info["gateway"] for info in listed["sessions"]}) == 2  # type: ignore[attr-defined]
            stats = mesh.call("webrtc-gateway.stats", session=second[:8])
            assert (stats["info"]["session"], stats["info"]["node"]) == (second, other.node)
            assert (await asked(http, mesh.console, "kick", session=second[:8]))["sessions"] == [second]
            assert (await asked(http, other.url, "kick", stream="cam0"))["sessions"] == [first, third]
            assert mesh.call("webrtc-gateway.sessions") == {"sessions": [], "unanswered": []}


async def a_gateway_hangs(mesh: RunningMesh, other: AnotherGateway) -> None:
    async with aiohttp.ClientSession() as http:
        with LightPeer() as here, LightPeer() as there:
            first = await join(http, mesh.console, here)
            await join(http, other.url, there)
            other.signal(signal.SIGSTOP)
            began = time.monotonic()
            listed = await asked(http, mesh.console, "sessions")
            assert time.monotonic() - began < MAX_PARTIAL_SECONDS * slowness()
            assert listed["unanswered"] == [other.node]
            assert [info["session"] for info in listed["sessions"]] == [first]  # type: ignore[attr-defined]
            shown, refused = await asyncio.gather(
                asyncio.to_thread(mesh.run, "sessions", "--json"),
                http.post(f"{mesh.console}api/cmd/webrtc-gateway.kick", json={"session": "f" * 8}),
            )
            assert [info["session"] for info in json.loads(shown.stdout)] == [first]
            assert shown.stderr == f"no answer from the gateway on {other.node}: theirs are not listed\n"
            assert (refused.status, other.node in await refused.text()) == (503, True)
            other.signal(signal.SIGCONT)


def test_gateways_of_one_mesh() -> None:
    with RunningMesh() as mesh, AnotherGateway(mesh, "test-2") as other:
        mesh.call("capture.start", stream="cam0", source="test://?size=384x216&fps=15")
        asyncio.run(one_list(mesh, other))
        asyncio.run(a_gateway_hangs(mesh, other))

"""Sessions of a running mesh: a viewer on a thin line gets `low`, made by hw-encode; all are listed, and shown out."""

import asyncio
import json

import aiohttp
import pytest

from tests.support.light_peer import LightPeer
from tests.support.mesh import RunningMesh
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
SDP = {"Content-Type": "application/sdp"}
REPORT_SECONDS = 0.3


async def moved(mesh: RunningMesh, peer: LightPeer) -> None:
    """Report loss until the session gets another rendition, as the mesh's own command says."""
    patience = Patience(20)
    while True:
        (info,) = (await asyncio.to_thread(mesh.call, "webrtc-gateway.sessions"))["sessions"]
        if info["rendition"] != "main":
            assert (info["rendition"], info["thin"], info["switches"]) == ("low", "loss", 1)
            return
        assert not patience.is_over(), info
        peer.report(lost=0.3)
        await peer.media(peer.packets + 5)
        await asyncio.sleep(REPORT_SECONDS)


async def watch(mesh: RunningMesh) -> None:
    with LightPeer() as peer:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{mesh.console}whep/cam0", data=peer.offer, headers=SDP) as response,
        ):
            answer = await response.text()
            assert response.status == 201, answer
        await peer.connect(answer)
        await peer.media(3)
        ssrc = peer.ssrc
        await moved(mesh, peer)
        await peer.media(peer.packets + 30)
        assert peer.ssrc == ssrc, "the same track goes on"
        spec = next(entry["spec"] for entry in mesh.status()["renditions"] if entry["spec"]["rendition"] == "low")
        assert (spec["size"], spec["bitrate"]) == ("192x108", "1000000")
        listed = json.loads((await asyncio.to_thread(mesh.run, "sessions", "--json")).stdout)
        session = listed[0]["session"]
        assert listed[0]["fraction_lost"] == pytest.approx(0.3, abs=0.01)
        found = mesh.call("webrtc-gateway.stats", session=session)
        kinds = {item["type"]: item for item in found["stats"]}
        assert kinds["outbound-rtp"]["qualityLimitationReason"] == "bandwidth"
        assert kinds["remote-inbound-rtp"]["fractionLost"] == pytest.approx(0.3, abs=0.01)
        kicked = await asyncio.to_thread(mesh.run, "sessions", "kick", session[:6], "--reason", "enough")
        assert kicked.stdout == f"ended {session[:8]}\n"
        assert mesh.call("webrtc-gateway.sessions")["sessions"] == []


def test_a_thin_line_in_a_mesh() -> None:
    with RunningMesh() as mesh:
        mesh.call("capture.start", stream="cam0", source="test://?size=384x216&fps=15")
        asyncio.run(watch(mesh))

"""Viewers of a running mesh whose stream is removed: their sessions end, the console shows it gone, joining is 404."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.console import CHROMIUM, console_page
from tests.support.mesh import RunningMesh

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(60),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
OFFER = (Path(__file__).parents[1] / "unit/fixtures/whep_offer_chromium.sdp").read_bytes()


def join(mesh: RunningMesh, stream: str) -> tuple[int, str]:
    """Status and body of a WHEP offer."""
    url = f"{mesh.console}whep/{stream}"
    request = urllib.request.Request(url, data=OFFER, headers={"Content-Type": "application/sdp"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_viewers_of_a_removed_stream_are_told() -> None:
    with RunningMesh() as mesh, console_page() as console:
        mesh.call("capture.start", stream="cam0", source="test://?size=640x360&fps=15")
        console.open(mesh.console)
        console.playing("cam0", 15)
        assert join(mesh, "cam0")[0] == 201, "a second viewer, which never connects"
        assert len(mesh.call("webrtc-gateway.sessions")["sessions"]) == 2
        mesh.call("capture.stop", stream="cam0")
        console.until("tile('cam0') === undefined && !document.querySelector('.tile')", 3)
        mesh.wait_for(lambda: not mesh.call("webrtc-gateway.sessions")["sessions"], 3, "no sessions")
        status, body = join(mesh, "cam0")
        assert status == 404
        assert "does not exist" in json.loads(body)["message"]
        mesh.call("capture.start", stream="cam0", source="test://?size=640x360&fps=15")
        console.playing("cam0", 15)

"""Firefox as a viewer and as a publisher, on the machine of the mesh, as `framemesh up` starts it."""

import asyncio
from typing import Any

import pytest

from tests.support.firefox import FirefoxPage, firefox_page
from tests.support.mesh import RunningMesh
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.firefox, pytest.mark.long, pytest.mark.timeout(180)]
_TILE = "Object.fromEntries([...(window.framemesh?.tiles ?? [])])"
# Without H.264, which Firefox has from a plug-in of its own that is not here: VP8 is what it offers first.
_PUBLISH = """(async () => {
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 180}, audio: true});
  const peer = window.publisher = new RTCPeerConnection();
  for (const track of media.getTracks()) peer.addTransceiver(track, {direction: "sendonly", streams: [media]});
  await peer.setLocalDescription(await peer.createOffer());
  const headers = {"Content-Type": "application/sdp"};
  const response = await fetch("/whip/page", {method: "POST", headers, body: peer.localDescription.sdp});
  const sdp = await response.text();
  if (response.status !== 201) throw new Error(response.status + sdp);
  await peer.setRemoteDescription({type: "answer", sdp});
  return response.headers.get("Location");
})()"""


def test_watches_and_publishes() -> None:
    with RunningMesh() as mesh:
        mesh.call("capture.start", stream="cam0", source="test://?size=384x216&fps=15&timecode=1")
        asyncio.run(_watch_and_publish(mesh))


async def _watch_and_publish(mesh: RunningMesh) -> None:
    async with firefox_page() as page:
        await page.open(mesh.console)
        tile = await _until(page, "cam0", 20)
        assert (tile["width"], tile["height"]) == (384, 216)
        assert tile["packetsLost"] == 0
        await page.evaluate(_PUBLISH)
        seen = await _until(page, "page", 10)
        assert (seen["width"], seen["height"]) == (320, 180)
        print(
            f"Firefox: joined in {tile['joinMs']:.0f} ms, {tile['latencyMs']} ms late; its own in {seen['joinMs']:.0f}"
        )


async def _until(page: FirefoxPage, stream: str, pictures: int) -> dict[str, Any]:
    """The page's report of a tile that plays."""
    patience = Patience(30.0)
    while True:
        tiles = await page.evaluate(_TILE)
        tile: dict[str, Any] = tiles.get(stream, {})
        if tile.get("state") == "playing" and tile["framesPresented"] >= pictures:
            return tile
        assert not patience.is_over(), f"{stream} does not play: {tiles}"
        await asyncio.sleep(0.2)

"""Publishers that send their pictures in three sizes: a Chromium page over WHIP and the real sora_sdk, all watched."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page
from test_whep_chromium import CHROMIUM, PLAYER, STATS
from test_whip_ingest import browser, page_of

from tests.support.mesh import CallFailed, RunningMesh
from tests.support.pace import Patience
from tests.support.sora_client import SoraClient

pytest.importorskip("sora_sdk")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium"),
]
PUBLISH = """
async (path) => {
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 1280, height: 720, frameRate: 10}});
  const pc = new RTCPeerConnection();
  const sendEncodings = [['q', 4], ['h', 2], ['f', 1]].map(([rid, scale]) => ({rid, scaleResolutionDownBy: scale}));
  const video = pc.addTransceiver(media.getTracks()[0], {direction: 'sendonly', sendEncodings});
  window.publisher = {pc, sender: video.sender};
  const known = RTCRtpSender.getCapabilities('video').codecs;
  video.setCodecPreferences(known.filter((c) => c.mimeType === 'video/VP8' || c.mimeType === 'video/rtx'));
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/sdp'},
                                      body: pc.localDescription.sdp});
  if (response.status !== 201) throw new Error(response.status + await response.text());
  await pc.setRemoteDescription({type: 'answer', sdp: await response.text()});
}
"""
END_LAYER = """
async (rid) => {
  const parameters = publisher.sender.getParameters();
  parameters.encodings.find((encoding) => encoding.rid === rid).active = false;
  await publisher.sender.setParameters(parameters);
}
"""
ASKED = """
async () => Object.fromEntries([...(await publisher.pc.getStats()).values()]
  .filter((report) => report.type === 'outbound-rtp' && report.kind === 'video')
  .map((report) => [report.rid, report.pliCount]))
"""
SIZES = [(320, 180), (640, 360), (1280, 720)]
SDK_SIZES = [(320, 176), (640, 352), (1280, 720)]  # its encoders cut sizes to multiples of 16


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        yield running


def layers(mesh: RunningMesh, stream: str) -> dict[str, dict[str, Any]]:
    return {layer["rendition"]: layer for layer in (mesh.actual("streams", stream) or {}).get("layers", ())}


def sizes(mesh: RunningMesh, stream: str) -> list[tuple[int, int]]:
    return [(layer["width"], layer["height"]) for layer in layers(mesh, stream).values()]


def followed(mesh: RunningMesh, stream: str) -> list[str]:
    return [name for name, layer in layers(mesh, stream).items() if layer["followed"]]


async def watch(page: Page, paths: list[str]) -> None:
    """All at once."""
    await page.evaluate(
        f"""async (paths) => {{
      const play = {PLAYER}, playing = [];
      window.players = [];
      for (const path of paths) {{
        playing.push(play(path));
        players.push(window.player);
      }}
      await Promise.all(playing);
    }}""",
        paths,
    )


async def shown(page: Page, number: int) -> Any:
    return await page.evaluate(f"async (number) => {{ const player = players[number]; return ({STATS})(); }}", number)


async def shows(page: Page, number: int, size: tuple[int, int]) -> Any:
    """What a player has once its pictures have a size and go on."""
    patience = Patience(10.0)
    while (seen := await shown(page, number))["size"] != list(size):
        assert not patience.is_over(), seen
        await asyncio.sleep(0.05)
    decoded = seen["video"]["framesDecoded"]
    while (seen := await shown(page, number))["video"]["framesDecoded"] < decoded + 3:
        assert not patience.is_over(), seen
        await asyncio.sleep(0.05)
    return seen


async def test_a_page_sends_three_sizes_and_source_goes_on_without_the_best(mesh: RunningMesh, tmp_path: Path) -> None:
    async with browser(mesh, tmp_path / "profile") as context:
        publisher, viewer = [await page_of(context, mesh) for _ in range(2)]
        await publisher.evaluate(PUBLISH, "/whip/page")
        await asyncio.to_thread(mesh.wait_for, lambda: sizes(mesh, "page") == SIZES, 15, "three sizes come")
        await asyncio.to_thread(mesh.wait_for, lambda: followed(mesh, "page") == ["f"], 15, "source is the best")
        await watch(viewer, ["/whep/page/source", *(f"/whep/page/{rid}" for rid in "qhf")])
        for seen in await asyncio.gather(*(shows(viewer, *each) for each in enumerate([SIZES[-1], *SIZES]))):
            assert seen["video"]["packetsLost"] == 0
        assert all(layer["bitrate"] > 0 for layer in layers(mesh, "page").values())
        assert min((await publisher.evaluate(ASKED)).values()) > 0, "key pictures are asked of each layer"
        renditions = {session["rendition"] for session in mesh.call("webrtc-gateway.sessions")["sessions"]}
        assert renditions == {"source", "q", "h", "f"}
        with pytest.raises(CallFailed, match="is sent by the publisher"):
            mesh.call("hw-encode.start", stream="page", rendition="h")

        await publisher.evaluate(END_LAYER, "f")
        went_on = await shows(viewer, 0, SIZES[1])
        assert went_on["states"][-1][0] == "connected"
        assert went_on["video"]["packetsLost"] == 0
        await asyncio.to_thread(mesh.wait_for, lambda: followed(mesh, "page") == ["h"], 15, "the state tells of it")
        assert (await shown(viewer, 1))["size"] == list(SIZES[0]), "who asked for one layer keeps it"


def test_the_sdk_sends_three_sizes_as_it_is_told(mesh: RunningMesh) -> None:
    url = mesh.console.replace("http", "ws", 1) + "signaling"
    options: dict[str, Any] = {"video_codec_type": "VP8", "video_bit_rate": 2500, "simulcast": True}
    with SoraClient(url, "sendonly", "line", size=(1280, 720), **options) as publisher:
        offer = publisher.wait("offer")["message"]
        assert offer["simulcast"] is True
        told = [(each["rid"], each["scaleResolutionDownBy"], each["maxBitrate"]) for each in offer["encodings"]]
        assert told == [("r0", 4.0, 200_000), ("r1", 2.0, 600_000), ("r2", 1.0, 1_700_000)]
        mesh.wait_for(lambda: sizes(mesh, "line") == SDK_SIZES, 15, "three sizes come")
        mesh.wait_for(lambda: followed(mesh, "line") == ["r2"], 15, "source is the best")
        assert list(layers(mesh, "line")) == ["r0", "r1", "r2"]
        picture = mesh.call("capture.line.snapshot", format="png")
        assert (picture["width"], picture["height"]) == SDK_SIZES[-1], "only source is decoded"

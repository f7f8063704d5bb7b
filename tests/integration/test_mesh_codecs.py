"""Viewers of every codec in a running mesh: what they take goes out as it is, for the others there is a rendition."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from shared.media import timecode
from tests.support.console import CHROMIUM, console_page
from tests.support.mesh import RunningMesh
from tests.support.pace import slowness

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]
WIDTH, HEIGHT = 480, 270
# A WHEP player that can decode only the codecs it is told of.
JOIN = """
async ([name, path, mimeTypes]) => {
  const pc = new RTCPeerConnection(), video = document.createElement("video");
  video.autoplay = true;
  document.body.append(video);
  pc.ontrack = ({streams, track}) => { if (track.kind === "video") video.srcObject = streams[0]; };
  const transceiver = pc.addTransceiver("video", {direction: "recvonly"});
  const known = RTCRtpReceiver.getCapabilities("video").codecs;
  transceiver.setCodecPreferences(known.filter(({mimeType}) => mimeTypes.includes(mimeType)));
  pc.addTransceiver("audio", {direction: "recvonly"});
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(path, {
    method: "POST", headers: {"Content-Type": "application/sdp"}, body: pc.localDescription.sdp});
  const text = await response.text();
  if (response.status !== 201) throw new Error(response.status + text);
  await pc.setRemoteDescription({type: "answer", sdp: text});
  (window.players ??= {})[name] = {pc, video};
  return response.headers.get("X-Framemesh-Rendition");
}
"""
STATS = """
async ([name, frames, ms]) => {
  const {pc, video} = players[name], until = performance.now() + ms;
  for (;;) {
    const found = {}, reports = await pc.getStats();
    for (const report of reports.values())
      if (report.type === "inbound-rtp") found[report.kind] = {...report, ...reports.get(report.codecId)};
    if (found.video?.framesDecoded >= frames || performance.now() > until) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
"""
PIXELS = """
(name) => {
  const {video} = players[name], size = [video.videoWidth, video.videoHeight], nowMs = Date.now();
  const context = new OffscreenCanvas(...size).getContext("2d");
  context.drawImage(video, 0, 0);
  const green = context.getImageData(0, 0, size[0], 32).data.filter((_, i) => i % 4 === 1);
  return [nowMs, size, Array.from(green)];
}
"""
HEARS = """
async ([name, ms]) => {
  const {pc} = players[name], until = performance.now() + ms;
  for (;;) {
    for (const report of (await pc.getStats()).values())
      if (report.type === "inbound-rtp" && report.kind === "audio" && report.totalAudioEnergy > 0.001) return report;
    if (performance.now() > until) throw new Error(JSON.stringify([...(await pc.getStats()).values()]));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
"""
LEAVE = "() => { for (const {pc} of Object.values(players)) pc.close(); players = {}; }"
LIVE_MS = 3000  # an old group of pictures would be older


def plays(page: Page, name: str, mime_type: str, frames: int = 20) -> dict[str, Any]:
    """Pictures of that codec come whole, and show a time that is now."""
    stats: dict[str, Any] = page.evaluate(STATS, [name, frames, 20_000])
    video = stats["video"]
    assert video["framesDecoded"] >= frames, stats
    assert video["mimeType"] == mime_type
    assert (video["packetsLost"], video["pliCount"]) == (0, 0)
    now_ms, size, green = page.evaluate(PIXELS, name)
    assert size == [WIDTH, HEIGHT]
    shown_ms = timecode.read(np.array(green).reshape(timecode.HEIGHT_PIXELS, WIDTH), now_ms)
    assert shown_ms is not None
    print(f"{name}: {video['framesDecoded']} pictures, shown {now_ms - shown_ms} ms after their time code")
    assert 0 <= now_ms - shown_ms < LIVE_MS * slowness()
    return stats


def test_every_codec_and_what_those_get_who_lack_it(tmp_path: Path) -> None:
    environment = {"FRAMEMESH_HW_ENCODE_IDLE_SECONDS": "1"}
    with RunningMesh(environment=environment) as mesh, console_page() as console:
        page = console.page
        mesh.call("capture.start", stream="cam0", source=f"test://?size={WIDTH}x{HEIGHT}&fps=15&timecode=1")
        for codec in ("vp8", "vp9", "av1"):
            mesh.call("hw-encode.start", stream="cam0", rendition=f"as-{codec}", codec=codec, encoder="software")
        page.goto(f"{mesh.console}api/status")

        # As they are.
        for codec in ("vp8", "vp9", "av1", "h264"):
            name = "main" if codec == "h264" else f"as-{codec}"
            mime_type = f"video/{codec.upper()}"
            told = page.evaluate(JOIN, [codec, f"/whep/cam0/{name}", ["video/H264", "video/VP8", mime_type]])
            assert told == name
        for codec in ("vp8", "vp9", "av1", "h264"):
            plays(page, codec, f"video/{codec.upper()}")
        page.screenshot(path=str(tmp_path / "codecs.png"))
        page.evaluate(LEAVE)

        # A source with AAC is heard, and nothing is decoded for that.
        clip = "-f lavfi -i testsrc2=size=320x180:rate=15 -f lavfi -i sine=f=800 -t 4 -c:v libx264 -preset ultrafast"
        subprocess.run(f"ffmpeg -v error {clip} -bf 0 -g 15 {mesh.media_dir}/aac.mp4".split(), check=True)
        mesh.call("capture.start", stream="cam1", source="file://aac.mp4")
        told = page.evaluate(JOIN, ["aac", "/whep/cam1/source", ["video/H264"]])
        assert told == "source"
        heard = page.evaluate(HEARS, ["aac", 10_000])
        assert (heard["packetsLost"], heard["packetsDiscarded"]) == (0, 0)
        assert (mesh.actual("streams", "cam1") or {})["decoding"] is False
        page.evaluate(LEAVE)

        # Who lacks the codec: main, or else a rendition that is there for them.
        assert page.evaluate(JOIN, ["a", "/whep/cam0/as-av1", ["video/H264"]]) == (
            'main; instead-of=as-av1; reason="its codec is av1"'
        )
        assert page.evaluate(JOIN, ["b", "/whep/cam0", ["video/VP8"]]) == (
            'vp8; instead-of=main; reason="its codec is h264"'
        )
        assert page.evaluate(JOIN, ["c", "/whep/cam0/as-vp9", ["video/VP8", "video/AV1"]]) == (
            'vp8; instead-of=as-vp9; reason="its codec is vp9"'
        )
        plays(page, "a", "video/H264", 10)
        plays(page, "b", "video/VP8", 10)
        plays(page, "c", "video/VP8", 10)
        sessions = mesh.call("webrtc-gateway.sessions", stream="cam0")["sessions"]
        assert {(one["rendition"], one["instead_of"]) for one in sessions} == {
            ("main", "as-av1"),
            ("vp8", "main"),
            ("vp8", "as-vp9"),
        }
        there = mesh.actual("renditions", "cam0", "vp8") or {}
        assert (there.get("state"), there.get("encoder")) == ("running", "libvpx")
        asked_for = {one["spec"]["rendition"] for one in mesh.call("hw-encode.list")["renditions"]}
        assert asked_for == {"as-vp8", "as-vp9", "as-av1"}
        page.evaluate(LEAVE)
        mesh.wait_for(lambda: mesh.actual("renditions", "cam0", "vp8") is None, 15, "the rendition is gone")

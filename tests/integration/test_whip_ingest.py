"""Streams that come over WHIP into a running mesh: from Chromium, from our own publisher, from who means ill."""

import asyncio
import base64
import contextlib
import io
import json
import random
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import aioice.ice
import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from PIL import Image
from playwright.async_api import BrowserContext, Page, async_playwright
from test_whep_chromium import ARGUMENTS, CHROMIUM, PLAYER, STATS, stats_when

from shared.media import timecode
from tests.support.mesh import CallFailed, RunningMesh
from tests.support.metrics import total
from tests.support.pace import patience, slowness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
FIXTURES = Path(__file__).parents[1] / "unit" / "fixtures"
OFFER = (FIXTURES / "whip_offer_chromium.sdp").read_bytes()
WATCHING = (FIXTURES / "whep_offer_chromium.sdp").read_bytes()
SIZE = "384x216"
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
# A WHIP client as short as it can be: the (fake) camera and microphone of the page.
PUBLISH = """
async ([path, codec]) => {
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 180}, audio: true});
  const pc = new RTCPeerConnection();
  const publisher = window.publisher = {pc};
  for (const track of media.getTracks()) pc.addTransceiver(track, {direction: 'sendonly', streams: [media]});
  const video = pc.getTransceivers().find((t) => t.sender.track.kind === 'video');
  const known = RTCRtpSender.getCapabilities('video').codecs;
  video.setCodecPreferences(known.filter((c) => c.mimeType === 'video/' + codec || c.mimeType === 'video/rtx'));
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(path, {method: 'POST', headers: {'Content-Type': 'application/sdp'},
                                      body: pc.localDescription.sdp});
  if (response.status !== 201) throw new Error(response.status + await response.text());
  publisher.location = response.headers.get('Location');
  await pc.setRemoteDescription({type: 'answer', sdp: await response.text()});
}
"""
TARGET_BITRATE = """
async () => [...(await publisher.pc.getStats()).values()]
  .filter((report) => report.type === 'outbound-rtp' && report.kind === 'video')[0].targetBitrate
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[RunningMesh]:
    with RunningMesh() as running:
        running.call("capture.start", stream="cam0", source=f"test://?size={SIZE}&fps=30&timecode=1")
        running.call("hw-encode.start", stream="cam0", rendition="main", bitrate="500k")
        yield running


def http(mesh: RunningMesh, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, str]:
    """Status, headers, body."""
    given = {"Content-Type": "application/sdp", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(mesh.console + path, data=body, headers=given, method=method)
    try:
        with urllib.request.urlopen(request, timeout=15) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def state_of(mesh: RunningMesh, stream: str) -> tuple[str, str]:
    """State, and what is waited for."""
    actual = mesh.actual("streams", stream) or {}
    return actual.get("state", ""), actual.get("waiting_for", "")


def wait_for_state(mesh: RunningMesh, stream: str, state: str, seconds: float = 10.0) -> None:
    mesh.wait_for(lambda: state_of(mesh, stream)[0] == state, seconds, f"{stream} is {state}")


def test_what_is_wrong_is_answered_and_makes_no_stream(mesh: RunningMesh) -> None:
    answers = {
        "no content type": http(mesh, "POST", "whip/new", OFFER, Content_Type="text/plain"),
        "no offer": http(mesh, "POST", "whip/new", b"hello"),
        "not text": http(mesh, "POST", "whip/new", b"\xff\xfe"),
        "offers to watch": http(mesh, "POST", "whip/new", WATCHING),
        "a weak digest": http(mesh, "POST", "whip/new", OFFER.replace(b":sha-256 ", b":sha-1 ")),
        "no name": http(mesh, "POST", "whip/Bad_Name", OFFER),
        "a camera's name": http(mesh, "POST", "whip/cam0", OFFER),
        "too long": http(mesh, "POST", "whip/new", b"v=0\r\n" * 20_000),
        "no session": http(mesh, "DELETE", "whip/new/nobody"),
        "no session to change": http(mesh, "PATCH", "whip/new/nobody", b""),
    }
    codes = {name: status for name, (status, _, _) in answers.items()}
    assert codes == {
        "no content type": 415,
        "no offer": 400,
        "not text": 400,
        "offers to watch": 406,
        "a weak digest": 400,
        "no name": 400,
        "a camera's name": 409,
        "too long": 413,
        "no session": 404,
        "no session to change": 404,
    }
    assert all(json.loads(body)["message"] for _, _, body in answers.values())
    status, headers, _ = http(mesh, "OPTIONS", "whip/new")
    assert (status, headers["Accept-Post"]) == (204, "application/sdp")
    assert mesh.actual("streams", "new") is None
    _, headers, _ = http(mesh, "POST", "whip/idle", OFFER)
    fragment, session = "application/trickle-ice-sdpfrag", headers["Location"].lstrip("/")
    changes = [
        http(mesh, "PATCH", session, b"", Content_Type=kind, **match)[0]
        for kind, match in (
            ("text/plain", {"If_Match": headers["ETag"]}),
            (fragment, {}),
            (fragment, {"If_Match": "*"}),
            (fragment, {"If_Match": '"another"'}),
            (fragment, {"If_Match": headers["ETag"]}),
        )
    ]
    assert changes == [415, 428, 422, 412, 204], "RFC 9725 section 4.3.1"
    assert http(mesh, "DELETE", session)[0] == 200
    for source in ("whip://somewhere", "whip:///path", "whip://?transient=maybe", "whip://?other=1"):
        with pytest.raises(CallFailed, match="write whip:// alone"):
            mesh.call("capture.start", stream="new", source=source)
    with pytest.raises(CallFailed) as refused:
        mesh.call("capture.cam0.keyframe")
    assert refused.value.code == 409


def test_our_own_publisher_pushes_into_our_own_gateway(mesh: RunningMesh) -> None:
    mesh.call("publisher.start", stream="cam0", output="push", to=f"{mesh.console}whip/copy")
    wait_for_state(mesh, "copy", "live")
    actual = mesh.actual("streams", "copy")
    assert (actual["video"]["width"], actual["video"]["height"]) == (384, 216)
    assert actual["source_tracks"] == ["video", "opus"]
    assert mesh.call("capture.copy.keyframe")["forced"] in (True, False)

    status, _, body = http(mesh, "POST", "whip/copy", OFFER)
    assert status == 409, "one publisher per stream"
    assert "published by somebody else" in body

    def late_ms() -> int:
        """What is known of a picture's time, less what is burnt into it."""
        shot = mesh.call("capture.copy.snapshot", format="png")
        luma = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("L"))
        now_ms: int = shot["captured_ns"] // 1_000_000
        burnt_ms = timecode.read(luma, now_ms)
        assert burnt_ms is not None
        return now_ms - burnt_ms

    mesh.wait_for(lambda: abs(late_ms()) <= 100 * slowness(), what="the publisher's reports tell when it was taken")
    mesh.call("publisher.stop", stream="cam0", output="push")
    mesh.wait_for(lambda: state_of(mesh, "copy") == ("connecting", "a publisher"), what="it waits for another one")


@contextlib.asynccontextmanager
async def browser(mesh: RunningMesh, profile: Path) -> AsyncIterator[BrowserContext]:
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, headless=True, args=[*ARGUMENTS, *FAKE_CAMERA]
        )
        try:
            yield context
        finally:
            await context.close()


async def page_of(context: BrowserContext, mesh: RunningMesh) -> Page:
    page = await context.new_page()
    await page.goto(mesh.console + "api/status")
    return page


def read_with_ffmpeg(path: Path) -> tuple[dict[str, Any], str]:
    """What ffprobe says of each stream, by codec, and what ffmpeg complains of while it decodes all."""
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,start_time,duration,width", "-of", "json", path],
        capture_output=True,
        text=True,
        check=True,
    )
    # A page's camera has no steady rate: in ticks of the mean one, two pictures could have the same time.
    ticks = ["-enc_time_base:v", "1:90000"]
    decoded = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, *ticks, "-f", "null", "-"], capture_output=True, text=True, check=True
    )
    streams = {stream["codec_name"]: stream for stream in json.loads(shown.stdout)["streams"]}
    return streams, shown.stderr + decoded.stderr


@pytest.mark.browser
@pytest.mark.long
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")
async def test_a_page_publishes_its_camera_and_another_watches(mesh: RunningMesh, tmp_path: Path) -> None:
    async with browser(mesh, tmp_path / "profile") as context:
        mesh.call("capture.start", stream="page", source="whip://")
        assert state_of(mesh, "page") == ("connecting", "a publisher")
        publisher, viewer, other = [await page_of(context, mesh) for _ in range(3)]
        await publisher.evaluate(PUBLISH, ["/whip/page", "H264"])
        await other.evaluate(PUBLISH, ["/whip/other", "VP8"])
        await asyncio.to_thread(wait_for_state, mesh, "page", "live")
        await asyncio.to_thread(wait_for_state, mesh, "other", "live")
        assert mesh.actual("streams", "page")["video"]["codec"] == "h264"
        assert mesh.actual("streams", "other")["video"]["codec"] == "vp8"
        file = mesh.media_dir / "page.mp4"
        mesh.call("publisher.start", stream="page", output="rec", rendition="source", to=f"file://{file}")

        await viewer.evaluate(PLAYER, "/whep/page/source")
        seen = await stats_when(viewer, "s.video?.framesDecoded >= 20 && s.audio?.totalAudioEnergy > 0")
        assert seen["size"] == [320, 180]
        assert seen["video"]["packetsLost"] == 0
        assert seen["audio"]["totalAudioEnergy"] > 0
        assert await publisher.evaluate(TARGET_BITRATE) > 1_000_000, "it does not stay at what browsers begin with"

        # Another page in its place: the same stream, and its viewers stay.
        await publisher.reload()
        await publisher.evaluate(PUBLISH, ["/whip/page", "H264"])
        await asyncio.to_thread(wait_for_state, mesh, "page", "live")
        enough = seen["video"]["framesDecoded"] + 40
        later = await stats_when(viewer, f"s.video.framesDecoded >= {enough}", 15)
        assert later["video"]["framesDecoded"] >= enough
        assert later["states"][-1][0] == "connected"

        mesh.wait_for(
            lambda: (mesh.actual("outputs", "page") or {}).get("duration_ns", 0) > 2_000_000_000, what="it is recorded"
        )
        mesh.call("publisher.stop", stream="page", output="rec")
        path = await other.evaluate("() => publisher.location")
        assert http(mesh, "DELETE", path.lstrip("/"))[0] == 200
        mesh.wait_for(lambda: state_of(mesh, "other") == ("connecting", "a publisher"), what="nobody is there")
        gone = await viewer.evaluate(STATS)
        assert gone["size"] == [320, 180]
    # The browser is gone without a word about its sessions.
    streams, complaints = read_with_ffmpeg(file)
    assert not complaints
    assert streams["h264"]["width"] == 320
    assert abs(float(streams["h264"]["start_time"]) - float(streams["opus"]["start_time"])) < 0.1
    assert abs(float(streams["h264"]["duration"]) - float(streams["opus"]["duration"])) < 0.5
    mesh.wait_for(lambda: state_of(mesh, "page")[0] in ("stalled", "connecting"), 5, "it is seen within seconds")
    mesh.wait_for(lambda: mesh.actual("streams", "other") is None, 15, "made for a publisher, gone after it")
    mesh.wait_for(lambda: state_of(mesh, "page") == ("connecting", "a publisher"), 15, "asked for, so it stays")


class _Camera(VideoStreamTrack):
    async def recv(self) -> av.VideoFrame:
        pts, base = await self.next_timestamp()
        frame = av.VideoFrame.from_ndarray(np.full((270, 320), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = pts, base or Fraction(1, 90_000)
        return frame


async def test_a_publisher_that_sends_rubbish_harms_nobody(mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    peer = RTCPeerConnection()
    peer.addTransceiver(_Camera(), direction="sendonly")
    await peer.setLocalDescription(await peer.createOffer())
    status, headers, answer = await asyncio.to_thread(
        http, mesh, "POST", "whip/rubbish", peer.localDescription.sdp.encode()
    )
    assert status == 201
    await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await asyncio.to_thread(wait_for_state, mesh, "rubbish", "live")
    transport = peer.getTransceivers()[0].sender.transport
    dice = random.Random("rubbish")
    types = [int(word) for word in answer.split("m=video ", 1)[1].split("\r\n")[0].split()[2:]]
    for number in range(800):
        header = struct.pack(
            "!BBHII",
            0x80 | dice.choice((0, 0x10, 0x20, 0x0F)),
            dice.choice((*types, 0x80 | types[0], 200, 201, 202, 205, 206)),  # 203 would be a goodbye, and heard
            dice.getrandbits(16),
            dice.getrandbits(32),
            dice.choice((1, 2, dice.getrandbits(32))),
        )
        datagram = header + dice.randbytes(dice.randint(0, 300))
        with contextlib.suppress(Exception):  # its own SRTP does not protect everything
            await (transport._send_rtcp if 200 <= datagram[1] <= 206 else transport._send_rtp)(datagram)  # type: ignore[attr-defined]
        if number % 100 == 0:
            await transport.transport._connection.send(dice.randbytes(40))
    url = mesh.ready["metrics"]["webrtc-gateway"]
    await asyncio.to_thread(
        mesh.wait_for, lambda: total(url, "framemesh_ingest_dropped_total") > 100, what="it is looked at, and left out"
    )
    since_ns = time.time_ns() + 500_000_000
    async with patience(10):
        while (await asyncio.to_thread(mesh.call, "capture.rubbish.stats"))["last_frame_ns"] < since_ns:
            await asyncio.sleep(0.1)
    assert (await asyncio.to_thread(http, mesh, "DELETE", headers["Location"].lstrip("/")))[0] == 200
    await peer.close()
    assert "Traceback" not in mesh.log.read_text()
